//! `postier user leave`: what Dovecot has to be told before it serves the Maildirs again.
//!
//! Nearly all is in the Maildirs as Dovecot has it: UIDs, flags, keywords, folders, subscriptions. What is not are
//! mod-sequences: a client that was told a HIGHESTMODSEQ must never be told a lower one under the same UIDVALIDITY
//! (RFC 7162 §3.1.1), or it misses changes; and Dovecot begins anew at 1. So a script of `doveadm` calls is printed that lets
//! each mailbox begin above all that were told, which its uidlist says at any time ([`Header::modseq_limit`]).
//!
//! [`Header::modseq_limit`]: postier_core::maildir::uidlist::Header::modseq_limit

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use postier_core::maildir::folder::FolderName;
use postier_core::maildir::uidlist::Uidlist;
use postier_host::config::Settings;
use postier_host::files::DirectFiles;
use postier_host::users::UsersFile;

use super::LeaveArgs;
use super::account::{Name, Row};
use super::output::{Failure, complain, say};

/// The first line of a uidlist is in so many octets.
const HEADER_BYTES_MAX: u64 = 64 * 1024;

const TOP: &str = "\
#!/bin/sh
# Before Dovecot serves these Maildirs to a client: the mod-sequences that postier has told are not given out again.
# -u is the name under which Dovecot knows the user. postier.index and postier.cache in the Maildirs may be removed.
# Annotations of mailboxes and special uses that clients have given (METADATA) are in postier.properties; Dovecot has its own.
set -e
";

pub(super) fn leave(args: &LeaveArgs) -> Result<(), Failure> {
    let settings = Settings::read(&args.config.config, &DirectFiles)?;
    let text = std::fs::read(&settings.accounts.value)
        .map_err(|error| Failure::io(settings.accounts.value.display(), &error))?;
    let (file, _) = UsersFile::parse(text);
    let all: Vec<Row> = file.users().iter().map(|user| Row::of(user, &settings)).collect();
    let wanted = match &args.address {
        None => None,
        Some(address) => {
            let name = Name::parse(address, &settings)?;
            name.require(&file, &settings)?;
            Some(name.address())
        }
    };
    let mut script = String::from(TOP);
    for row in all.iter().filter(|row| wanted.as_ref().is_none_or(|wanted| *wanted == row.address)) {
        let mailboxes = mailboxes(Path::new(&row.maildir), args.separator)
            .map_err(|error| Failure::io(&row.maildir, &error))?;
        for (name, modseq) in mailboxes {
            let (user, name) = (quoted(&row.address), quoted(&name));
            let _ =
                writeln!(script, "doveadm mailbox update -u {user} --min-highest-modseq {modseq} -- {name}");
        }
    }
    say(&script);
    Ok(())
}

/// The mailboxes of a Maildir with a mod-sequence above all that were told, in the order of their names.
fn mailboxes(maildir: &Path, separator: char) -> std::io::Result<Vec<(String, u64)>> {
    let mut folders = vec![FolderName::inbox()];
    match std::fs::read_dir(maildir) {
        Ok(entries) => {
            for entry in entries {
                folders.extend(FolderName::from_directory(entry?.file_name().as_bytes()));
            }
        }
        // Nobody has logged in yet.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    }
    let mut found = Vec::new();
    for folder in folders {
        let list = maildir.join(OsStr::from_bytes(&folder.directory())).join("dovecot-uidlist");
        match modseq(&list) {
            // One that has told none needs nothing.
            Ok(Some(0) | None) => {}
            Ok(Some(modseq)) => found.push((folder.to_utf8(separator), modseq)),
            Err(error) => complain(&format!("warning: {}: {error}", list.display())),
        }
    }
    found.sort();
    Ok(found)
}

/// What the header of a uidlist has reserved; `None` if there is no list.
fn modseq(list: &Path) -> std::io::Result<Option<u64>> {
    match list.symlink_metadata() {
        Ok(stat) if stat.is_file() => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut start = Vec::new();
    File::open(list)?.take(HEADER_BYTES_MAX).read_to_end(&mut start)?;
    let end = start.iter().position(|octet| *octet == b'\n').map_or(start.len(), |end| end + 1);
    let header = Uidlist::parse(start.get(..end).unwrap_or_default()).map(|list| list.header.modseq_limit());
    header.map(Some).map_err(|_| std::io::Error::other("the first line is not that of a uidlist"))
}

/// As one word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mailbox_that_has_told_some_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let list = |folder: &str, text: &str| {
            let path = dir.path().join(folder);
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join("dovecot-uidlist"), text).unwrap();
        };
        list("", "3 V1 N9 G00112233445566778899aabbccddeeff M77\n3 :a\n");
        list(".Caf&AOk-.x", "3 V1 N9 M5 G00112233445566778899aabbccddeeff\n");
        list(".Dovecot's", "3 V1 N9 G00112233445566778899aabbccddeeff\n");
        list(".Broken", "no list\n");
        std::fs::create_dir(dir.path().join(".Empty")).unwrap();
        let expected = [(String::from("Café/x"), 5), (String::from("INBOX"), 77)];
        assert_eq!(mailboxes(dir.path(), '/').unwrap(), expected);
        assert!(mailboxes(&dir.path().join("none"), '/').unwrap().is_empty());
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
