//! TLS in the binary: a certificate and its key from PEM files, read again when they change.
//!
//! A connection keeps the certificate that it began with. New files that cannot be used are told in the log, and the old
//! certificate stays.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::limits::TLS_CHECK_MS;

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM of the wanted kind.
    #[error("{}: {error}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: tokio_rustls::rustls::pki_types::pem::Error,
    },
    /// A file has no time.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// They are not a certificate and its key.
    #[error(transparent)]
    Rustls(#[from] tokio_rustls::rustls::Error),
}

/// When the certificate and the key were last written.
type Stamp = (SystemTime, SystemTime);

/// The current certificate. Clones share it.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<(Arc<ServerConfig>, Stamp)>,
}

impl Tls {
    /// From a PEM file with the chain, own certificate first, and one with its key.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let stamp = stamp(certificate, key)?;
        let current = RwLock::new((Arc::new(load(certificate, key)?), stamp));
        Ok(Self(Arc::new(Inner { certificate: certificate.to_owned(), key: key.to_owned(), current })))
    }

    /// What takes the next connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.0.current.read().unwrap_or_else(PoisonError::into_inner).0).into()
    }

    /// Reads the files again where they changed; whether there is a new certificate.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let stamp = stamp(&self.0.certificate, &self.0.key)?;
        if self.0.current.read().unwrap_or_else(PoisonError::into_inner).1 == stamp {
            return Ok(false);
        }
        let config = Arc::new(load(&self.0.certificate, &self.0.key)?);
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = (config, stamp);
        Ok(true)
    }

    /// Looks after the files for as long as the server runs: at SIGHUP, and every now and then.
    pub async fn watch(self) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            tracing::error!("SIGHUP cannot be watched: a new certificate needs a restart");
            return;
        };
        let mut told = None;
        loop {
            tokio::select! {
                _ = hangup.recv() => told = None,
                () = tokio::time::sleep(Duration::from_millis(TLS_CHECK_MS)) => {}
            }
            let tls = self.clone();
            let done =
                tokio::task::spawn_blocking(move || tls.reload().map_err(|error| error.to_string())).await;
            match done {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => {
                    told = None;
                    tracing::info!("the new certificate is in use");
                }
                // Said once: key and certificate are rarely written in the same instant.
                Ok(Err(error)) if told.as_ref() != Some(&error) => {
                    tracing::warn!(error, "the new certificate cannot be used; the old one stays");
                    told = Some(error);
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }
}

fn stamp(certificate: &Path, key: &Path) -> Result<Stamp, TlsError> {
    Ok((certificate.metadata()?.modified()?, key.metadata()?.modified()?))
}

fn load(certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| TlsError::File { path, error }
    };
    let chain = CertificateDer::pem_file_iter(certificate).map_err(failed(certificate))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(failed(certificate))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(failed(key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
