//! The log of a mount: lines of text in its state directory, in two files of bounded size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::limits::LOG_BYTES_MAX;

fn path(state: &Path) -> PathBuf {
    state.join("log")
}

/// Opens the log to be appended to. One that is full becomes `log.1`, whose former content is dropped.
pub fn open(state: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path(state))?;
    make_room(state, &file)?;
    Ok(file)
}

/// The file is copied and cut, not renamed: the supervisor and the daemon have it open, and go on writing to it.
fn make_room(state: &Path, file: &File) -> io::Result<()> {
    if file.metadata()?.len() < LOG_BYTES_MAX {
        return Ok(());
    }
    fs::copy(path(state), state.join("log.1"))?;
    file.set_len(0)
}

/// Where warnings go.
struct MountLog {
    state: PathBuf,
    file: Mutex<File>,
}

impl log::Log for MountLog {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that cannot be written stops nothing else.
        let _ = writeln!(file, "{}", record.args()).and_then(|()| make_room(&self.state, &file));
    }

    fn flush(&self) {}
}

/// Sends warnings of this process to the log in `state`.
pub fn install(state: &Path) -> io::Result<()> {
    // For as long as the process lives.
    let log: &'static MountLog =
        Box::leak(Box::new(MountLog { state: state.to_owned(), file: Mutex::new(open(state)?) }));
    // Taken already: then another has the warnings.
    if log::set_logger(log).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn a_log_never_takes_more_than_two_files_of_the_limit_and_keeps_the_latest() {
        let state = tempfile::tempdir().unwrap();
        let log = MountLog { state: state.path().to_owned(), file: Mutex::new(open(state.path()).unwrap()) };
        // Another process has it open, as the supervisor has.
        let mut other = open(state.path()).unwrap();
        let line = "x".repeat(1000);
        for at in 0..(LOG_BYTES_MAX / 1000 * 3) {
            let mut record = log::Record::builder();
            record.level(log::Level::Warn);
            log::Log::log(&log, &record.args(format_args!("{at} {line}")).build());
        }
        other.write_all(b"last\n").unwrap();
        let size = |name: &str| fs::metadata(state.path().join(name)).unwrap().len();
        assert!(size("log") < LOG_BYTES_MAX, "{}", size("log"));
        assert!(size("log.1") < LOG_BYTES_MAX + 2000, "{}", size("log.1"));
        assert!(fs::read_to_string(state.path().join("log")).unwrap().ends_with("last\n"));
    }
}
