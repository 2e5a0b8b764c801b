//! What of a key is stored: a name that tells nothing, and answers that only the same request opens.

use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
pub struct Sealed {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// The API token and the key of a request. Everything that is stored is a hash that takes in both.
#[derive(Clone)]
pub struct Secret {
    credential: Vec<u8>,
    key: Vec<u8>,
}

impl Secret {
    /// Of a request; `credential` is the header that carries the API token.
    pub fn new(credential: &[u8], key: &[u8]) -> Self {
        Self { credential: credential.to_vec(), key: key.to_vec() }
    }

    /// A hash of both, set apart by what it is for. Neither holds a zero byte, so that none runs into the next.
    fn hasher(&self, purpose: &str) -> Sha256 {
        let mut hasher = Sha256::new();
        for part in [purpose.as_bytes(), &self.credential, &self.key] {
            hasher.update(part);
            hasher.update([0]);
        }
        hasher
    }

    /// The name of the row.
    pub fn id(&self) -> [u8; 32] {
        self.hasher("cairn idempotency row").finalize().into()
    }

    /// Whose row it is.
    pub fn caller(&self) -> [u8; 32] {
        let mut hasher = Sha256::new_with_prefix("cairn idempotency caller\0");
        hasher.update(&self.credential);
        hasher.finalize().into()
    }

    /// Where the hash of a request starts: secret, since bodies may be easy to guess.
    pub fn fingerprint(&self) -> Sha256 {
        self.hasher("cairn idempotency request")
    }

    fn cipher(&self, salt: &[u8; 16]) -> ChaCha20Poly1305 {
        let mut hasher = self.hasher("cairn idempotency seal");
        hasher.update(salt);
        let key: [u8; 32] = hasher.finalize().into();
        ChaCha20Poly1305::new(&Key::from(key))
    }

    /// Seals an answer. The nonce may be fixed: a salt is used once, and so is the key that it makes.
    pub fn seal(&self, salt: &[u8; 16], answer: &Sealed) -> Option<Vec<u8>> {
        let plain = serde_json::to_vec(answer).ok()?;
        self.cipher(salt).encrypt(&Nonce::default(), plain.as_slice()).ok()
    }

    /// `None` where it was sealed by another request, or damaged.
    pub fn open(&self, salt: &[u8; 16], sealed: &[u8]) -> Option<Sealed> {
        let plain = self.cipher(salt).decrypt(&Nonce::default(), sealed).ok()?;
        serde_json::from_slice(&plain).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{Sealed, Secret};

    #[test]
    fn only_the_same_token_and_key_open_an_answer() {
        let secret = Secret::new(b"Bearer t", b"k");
        let answer = Sealed { status: 201, headers: Vec::new(), body: "art_v1_secret".into() };
        let sealed = secret.seal(&[1; 16], &answer).expect("sealed");
        assert!(!sealed.windows(6).any(|part| part == b"art_v1"));
        assert_eq!(secret.open(&[1; 16], &sealed).map(|answer| answer.body), Some(answer.body));
        assert!(secret.open(&[2; 16], &sealed).is_none(), "another salt");
        assert!(Secret::new(b"Bearer u", b"k").open(&[1; 16], &sealed).is_none(), "another token");
        assert!(Secret::new(b"Bearer t", b"l").open(&[1; 16], &sealed).is_none(), "another key");
    }
}
