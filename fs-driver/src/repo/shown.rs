//! How a mounted commit is shown: with the conversions that a checkout would make.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};

use super::Repo;
use crate::attributes::rules::Sources;
use crate::attributes::view::Converted;
use crate::gitdir::index::Listing;
use crate::limits::{ATTRIBUTES_BYTES_MAX, ATTRIBUTES_TOTAL_BYTES_MAX, RULES_AT_MOUNT_MAX};
use crate::port::Objects;

/// Where a mount keeps what its conversions follow from.
fn kept_in(state: &Path) -> PathBuf {
    state.join("attributes.json")
}

/// Whether something was mounted with this state before.
fn is_old(state: &Path) -> bool {
    state.join("overlay/checkpoint").exists()
}

impl Repo {
    /// Brings what git reads to answer `git status`, and what says how files are shown: in few requests and before the
    /// mount is ready, instead of one after the other later.
    pub fn bring_rules(&self, listing: &Listing) -> io::Result<()> {
        let is_rule = |path: &[u8]| {
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
            name == b".gitattributes" || name == b".gitignore"
        };
        let rules = listing.blobs().filter(|file| is_rule(file.path) && !self.blobs.has(&file.id));
        let mut ids: Vec<_> = rules.map(|file| file.id).take(RULES_AT_MOUNT_MAX).collect();
        ids.sort_unstable();
        ids.dedup();
        if !self.mounted.is_partial || ids.is_empty() {
            return Ok(());
        }
        let (sender, receiver) = sync_channel(1);
        self.hydrator.want_contents(&ids, b"", Box::new(move |outcome| _ = sender.send(outcome)));
        receiver.recv().map_err(io::Error::other)?
    }

    /// Asks git for its settings, where they are not those of an earlier mount. They come while the rest is made ready.
    pub fn ask_settings(&self) -> Option<JoinHandle<Sources>> {
        let state = self.record.state();
        let is_known = kept_in(&state).exists() || is_old(&state);
        let gitdir = self.gitdir();
        (!is_known).then(|| thread::spawn(move || Sources::ask(&gitdir)))
    }

    /// The tree as it is shown: with the conversions that git's settings and attributes ask for. They are those of the
    /// first mount. A tree without a listing is too large to be converted. `settings` are those that were asked for, if they
    /// were.
    pub fn view(
        self: &Arc<Self>,
        listing: Option<&Listing>,
        settings: Option<JoinHandle<Sources>>,
    ) -> io::Result<Converted> {
        let state = self.record.state();
        let kept = kept_in(&state);
        let sources = match Sources::load(&kept)? {
            Some(sources) => sources,
            // What was mounted without conversions stays so.
            None if is_old(&state) => Sources::default(),
            None => {
                let sources = match listing {
                    Some(listing) => self.sources(listing, settings)?,
                    None => Sources::default(),
                };
                sources.save(&kept)?;
                sources
            }
        };
        let inner: Arc<dyn Objects> = Arc::<Self>::clone(self);
        Converted::new(inner, self.root, &sources, &state)
    }

    fn sources(&self, listing: &Listing, settings: Option<JoinHandle<Sources>>) -> io::Result<Sources> {
        let asked = settings.and_then(|asked| asked.join().ok());
        let mut sources = asked.unwrap_or_else(|| Sources::ask(&self.gitdir()));
        let mut bytes = 0;
        for file in listing.regular_files() {
            let Some(folder) = file.path.strip_suffix(b".gitattributes") else { continue };
            let Ok(folder) = std::str::from_utf8(folder) else { continue };
            if !folder.is_empty() && !folder.ends_with('/') {
                continue;
            }
            let named = |what: &str| io::Error::other(format!("{folder}.gitattributes {what}"));
            let blob = self.open(&file.id).ok_or_else(|| named("could not be fetched"))?;
            fits(&mut bytes, blob.size).map_err(|why| named(&why))?;
            let mut content = vec![0; blob.size as usize];
            blob.file.read_exact_at(&mut content, 0)?;
            sources.files.insert(folder.to_owned(), content);
        }
        Ok(sources)
    }
}

/// Adds one attribute file to the bytes of all; in words, why it does not fit.
fn fits(all_bytes: &mut u64, bytes: u64) -> Result<(), String> {
    *all_bytes = all_bytes.saturating_add(bytes);
    if bytes > ATTRIBUTES_BYTES_MAX as u64 {
        return Err(format!("is too large: {bytes} bytes, at most {ATTRIBUTES_BYTES_MAX} are taken"));
    }
    if *all_bytes > ATTRIBUTES_TOTAL_BYTES_MAX as u64 {
        return Err(format!(
            "is too much: with it, attribute files have more than {ATTRIBUTES_TOTAL_BYTES_MAX} bytes"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{ATTRIBUTES_BYTES_MAX, ATTRIBUTES_TOTAL_BYTES_MAX, fits};

    #[test]
    fn attribute_files_stop_at_their_limits() {
        let (one, all) = (ATTRIBUTES_BYTES_MAX as u64, ATTRIBUTES_TOTAL_BYTES_MAX as u64);
        assert!(fits(&mut 0, one).is_ok());
        assert!(fits(&mut 0, one + 1).is_err_and(|why| why.contains(&one.to_string())));
        let mut bytes = 0;
        for _ in 0..all / one {
            assert_eq!(fits(&mut bytes, one), Ok(()));
        }
        assert!(fits(&mut bytes, 1).is_err_and(|why| why.contains(&all.to_string())));
    }
}
