//! How a mounted commit is shown: with the conversions that a checkout would make.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use super::Repo;
use crate::attributes::rules::Sources;
use crate::attributes::view::Converted;
use crate::gitdir::index::Listing;
use crate::limits::{ATTRIBUTES_BYTES_MAX, ATTRIBUTES_TOTAL_BYTES_MAX, RULES_AT_MOUNT_MAX};
use crate::port::Objects;

impl Repo {
    /// Brings what git reads to answer `git status`, and what says how files are shown: in few requests and before the
    /// mount is ready, instead of one after the other later.
    pub fn bring_rules(&self, listing: &Listing) -> io::Result<()> {
        let is_rule = |path: &[u8]| {
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
            name == b".gitattributes" || name == b".gitignore"
        };
        let rules = listing.files().filter(|file| is_rule(&file.path) && !self.blobs.has(&file.id));
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

    /// The tree as it is shown: with the conversions that git's settings and attributes ask for. They are those of the
    /// first mount. A tree without a listing is too large to be converted.
    pub fn view(self: &Arc<Self>, listing: Option<&Listing>) -> io::Result<Converted> {
        let state = self.record.state();
        let kept = state.join("attributes.json");
        let is_old = state.join("overlay/checkpoint").exists();
        let sources = match Sources::load(&kept)? {
            Some(sources) => sources,
            // What was mounted without conversions stays so.
            None if is_old => Sources::default(),
            None => {
                let sources = match listing {
                    Some(listing) => self.sources(listing)?,
                    None => Sources::default(),
                };
                sources.save(&kept)?;
                sources
            }
        };
        let inner: Arc<dyn Objects> = Arc::<Self>::clone(self);
        Converted::new(inner, self.root, &sources, &state)
    }

    fn sources(&self, listing: &Listing) -> io::Result<Sources> {
        let mut sources = Sources::ask(&self.gitdir());
        let mut bytes = 0;
        for file in listing.regular_files() {
            let Some(folder) = file.path.strip_suffix(b".gitattributes") else { continue };
            let Ok(folder) = std::str::from_utf8(folder) else { continue };
            if !folder.is_empty() && !folder.ends_with('/') {
                continue;
            }
            let named = |what: &str| io::Error::other(format!("{folder}.gitattributes {what}"));
            let blob = self.open(&file.id).ok_or_else(|| named("could not be fetched"))?;
            bytes += blob.size as usize;
            if blob.size as usize > ATTRIBUTES_BYTES_MAX || bytes > ATTRIBUTES_TOTAL_BYTES_MAX {
                return Err(named(&format!("is too large: {} bytes", blob.size)));
            }
            let mut content = vec![0; blob.size as usize];
            blob.file.read_exact_at(&mut content, 0)?;
            sources.files.insert(folder.to_owned(), content);
        }
        Ok(sources)
    }
}
