//! What is in a Maildir, as another program sees it.

use std::fs;
use std::path::{Path, PathBuf};

/// A message on disk.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Stored {
    pub(crate) fn name(&self) -> String {
        self.path.file_name().unwrap().to_string_lossy().into_owned()
    }
}

/// All messages of a folder, new and read, by name.
pub(crate) fn mail_in(maildir: &Path) -> Vec<Stored> {
    let mut found = Vec::new();
    for part in ["new", "cur"] {
        let Ok(entries) = fs::read_dir(maildir.join(part)) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            // Another program may have renamed it meanwhile; whoever cares looks again.
            let Ok(octets) = fs::read(&path) else { continue };
            found.push(Stored { path, text: String::from_utf8_lossy(&octets).into_owned() });
        }
    }
    found.sort_by(|a, b| a.path.file_name().cmp(&b.path.file_name()));
    found
}
