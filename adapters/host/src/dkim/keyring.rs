//! The keys of our domains, as files below the state directory: `dkim/DOMAIN/SELECTOR.STATE.pem`.
//!
//! ```text
//! nothing ─write, sync, rename─▶ .pending.pem ─its record is in the DNS─▶ .active.pem ─another one is active─▶ .retired.pem
//! ```
//!
//! Only an active key signs: a signature that nobody can check is worse than none. A retired one is kept, so that its selector
//! is not used again while mail with its signatures is on its way. A state is a name, and changes by a rename.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use postier_core::dkim::{Algorithm, Key, Keys, record};

use super::PrivateKey;

/// The directory in the state directory.
const DIRECTORY: &str = "dkim";

/// Whether a key is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its record has not been seen in the DNS.
    Pending,
    /// It signs.
    Active,
    /// It does not sign any more.
    Retired,
}

impl State {
    /// All of them.
    pub const ALL: [State; 3] = [State::Pending, State::Active, State::Retired];

    /// Its name, in that of a file too.
    pub const fn name(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Active => "active",
            State::Retired => "retired",
        }
    }
}

/// One key.
#[derive(Clone, Debug)]
pub struct KeyFile {
    /// In A-labels, lower case.
    pub domain: String,
    /// The name of its record below `_domainkey`.
    pub selector: String,
    /// Whether it is used.
    pub state: State,
    /// The key.
    pub key: Arc<PrivateKey>,
    /// When it was made.
    pub made: SystemTime,
}

impl KeyFile {
    /// The name of its record.
    pub fn record_name(&self) -> String {
        record::name(&self.selector, &self.domain)
    }

    /// The text of its record.
    pub fn record_text(&self) -> String {
        record::text(self.key.algorithm(), &self.key.public_key())
    }

    /// Whether this TXT record is its record.
    pub fn is_held_by(&self, text: &[u8]) -> bool {
        record::holds(text, self.key.algorithm(), &self.key.public_key())
    }
}

/// The files of one state directory.
#[derive(Clone, Debug)]
pub struct Keyring {
    directory: PathBuf,
}

/// What is in a keyring.
#[derive(Debug, Default)]
pub struct Contents {
    /// The keys by domain and selector.
    pub keys: Vec<KeyFile>,
    /// Files that hold no key, and why.
    pub damaged: Vec<(PathBuf, String)>,
}

impl Contents {
    /// Those that sign.
    pub fn signing(&self) -> Keys {
        let mut keys = Keys::default();
        for file in self.keys.iter().filter(|file| file.state == State::Active) {
            let (selector, algorithm) = (file.selector.clone(), file.key.algorithm());
            keys.insert(&file.domain, Key { selector, algorithm, signer: file.key.clone() });
        }
        keys
    }
}

impl Keyring {
    /// The keyring of a state directory; nothing is touched yet.
    pub fn new(state: &Path) -> Self {
        Keyring { directory: state.join(DIRECTORY) }
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Reads all keys; none where there is no directory.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub fn read(&self) -> io::Result<Contents> {
        let mut contents = Contents::default();
        for domain in names(&self.directory)? {
            let directory = self.directory.join(&domain);
            if !directory.is_dir() {
                continue;
            }
            for name in names(&directory)? {
                // What was being written when the power went.
                let Some((selector, state)) = parse(&name) else { continue };
                let path = directory.join(&name);
                match fs::read(&path).map(|pem| PrivateKey::from_pem(&pem)) {
                    Ok(Some(key)) => {
                        let (domain, selector) = (domain.clone(), selector.to_owned());
                        let made = fs::metadata(&path)?.modified()?;
                        contents.keys.push(KeyFile { domain, selector, state, key: Arc::new(key), made });
                    }
                    Ok(None) => contents.damaged.push((path, "it holds no key that signs mail".into())),
                    Err(error) => contents.damaged.push((path, error.to_string())),
                }
            }
        }
        Ok(contents)
    }

    /// Makes a key, which is pending.
    ///
    /// # Errors
    /// Those of the file system; `AlreadyExists` for a selector that has been used.
    pub fn make(&self, domain: &str, selector: &str, algorithm: Algorithm) -> io::Result<KeyFile> {
        let directory = self.directory.join(domain);
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        if names(&directory)?.iter().any(|name| parse(name).is_some_and(|(used, _)| used == selector)) {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "there is a key of this selector"));
        }
        let (key, pem) = PrivateKey::generate(algorithm)
            .map_err(|_| io::Error::other("the system gives no randomness for a key"))?;
        let temporary = directory.join(format!(".{selector}.{}", std::process::id()));
        let write = |file: File| -> io::Result<()> {
            (&file).write_all(pem.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, directory.join(file_name(selector, State::Pending)))?;
            sync(&directory)?;
            sync(&self.directory)
        };
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        if let Err(error) = write(file) {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        let (domain, selector) = (domain.to_owned(), selector.to_owned());
        let (state, made) = (State::Pending, SystemTime::now());
        Ok(KeyFile { domain, selector, state, key: Arc::new(key), made })
    }

    /// The records of the keys at these places of `keys` are in the DNS. Of a domain's keys of one algorithm that are active,
    /// or pending and among these, the one that was made last signs from now on, and the others are retired: their places
    /// come back.
    ///
    /// # Errors
    /// Those of the file system; some may have changed.
    pub fn activate(&self, keys: &mut [KeyFile], seen: &[usize]) -> io::Result<Vec<usize>> {
        let mut groups: BTreeMap<(String, &'static str), Vec<usize>> = BTreeMap::new();
        for (n, file) in keys.iter().enumerate() {
            if file.state == State::Active || (file.state == State::Pending && seen.contains(&n)) {
                groups.entry((file.domain.clone(), file.key.algorithm().name())).or_default().push(n);
            }
        }
        let mut retired = Vec::new();
        for mut group in groups.into_values() {
            // Those of one moment by their names.
            group.sort_by_key(|n| keys.get(*n).map(|file| (file.made, file.selector.clone())));
            let news = |n: &usize| keys.get(*n).is_some_and(|file| file.state == State::Pending);
            if !group.iter().any(news) {
                continue;
            }
            // The new one first: a mail is signed by two rather than by none.
            let last = group.pop();
            let states = last.map(|n| (n, State::Active)).into_iter();
            for (n, state) in states.chain(group.into_iter().map(|n| (n, State::Retired))) {
                let Some(file) = keys.get_mut(n).filter(|file| file.state != state) else { continue };
                self.change(file, state)?;
                retired.extend((state == State::Retired).then_some(n));
            }
        }
        Ok(retired)
    }

    /// Gives a key another state.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn change(&self, file: &mut KeyFile, state: State) -> io::Result<()> {
        let directory = self.directory.join(&file.domain);
        let name = |state| directory.join(file_name(&file.selector, state));
        fs::rename(name(file.state), name(state))?;
        sync(&directory)?;
        file.state = state;
        Ok(())
    }
}

/// Whether it can be a selector: one label of letters, digits and hyphens, in lower case.
pub fn is_selector(text: &str) -> bool {
    let letters = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-';
    (1..=60).contains(&text.len())
        && text.bytes().all(letters)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn file_name(selector: &str, state: State) -> String {
    format!("{selector}.{}.pem", state.name())
}

fn parse(name: &str) -> Option<(&str, State)> {
    let (selector, state) = name.strip_suffix(".pem")?.split_once('.')?;
    let state = State::ALL.into_iter().find(|known| known.name() == state)?;
    is_selector(selector).then_some((selector, state))
}

/// The names in a directory, in order; none where there is no directory.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn of_keys_whose_records_come_together_the_last_signs_and_retires_the_others() {
        let state = tempfile::tempdir().unwrap();
        let ring = Keyring::new(state.path());
        for (n, selector) in ["first", "next", "last", "absent"].into_iter().enumerate() {
            for (kind, algorithm) in [("r", Algorithm::RsaSha256), ("e", Algorithm::Ed25519Sha256)] {
                ring.make("x.test", &format!("{selector}{kind}"), algorithm).unwrap();
                let file = format!("{selector}{kind}.pending.pem");
                let made = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n as u64 + 1);
                File::open(ring.directory().join("x.test").join(file)).unwrap().set_modified(made).unwrap();
            }
        }
        let active = |wanted: &[&str], retires: usize| {
            let mut keys = ring.read().unwrap().keys;
            let seen: Vec<usize> = (0..keys.len())
                .filter(|n| wanted.iter().any(|selector| keys[*n].selector.starts_with(selector)))
                .collect();
            assert_eq!(ring.activate(&mut keys, &seen).unwrap().len(), retires);
            let keys = ring.read().unwrap().keys;
            let active = keys.iter().filter(|file| file.state == State::Active);
            active.map(|file| file.selector.clone()).collect::<Vec<_>>()
        };
        assert!(active(&[], 0).is_empty());
        assert_eq!(active(&["first"], 0), ["firste", "firstr"]);
        assert_eq!(active(&["first", "next", "last"], 4), ["laste", "lastr"]);
        assert_eq!(active(&["first", "next", "last"], 0), ["laste", "lastr"]);
        assert_eq!(active(&["absent"], 2), ["absente", "absentr"]);
    }

    #[test]
    fn a_key_is_made_used_and_retired() {
        let state = tempfile::tempdir().unwrap();
        let ring = Keyring::new(state.path());
        assert!(ring.read().unwrap().keys.is_empty());
        let mut key = ring.make("a.test", "1e", Algorithm::Ed25519Sha256).unwrap();
        let again = ring.make("a.test", "1e", Algorithm::Ed25519Sha256).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        let path = state.path().join("dkim/a.test/1e.pending.pem");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(ring.read().unwrap().signing().is_empty(), "its record has not been seen");
        ring.change(&mut key, State::Active).unwrap();
        let contents = ring.read().unwrap();
        assert!(contents.signing().of(b"a.test").is_some());
        assert_eq!(contents.keys[0].record_text(), key.record_text());
        assert!(key.is_held_by(contents.keys[0].record_text().as_bytes()));
        ring.change(&mut key, State::Retired).unwrap();
        assert!(ring.read().unwrap().signing().is_empty());
        assert!(ring.make("a.test", "1e", Algorithm::Ed25519Sha256).is_err(), "a selector is used once");
    }

    #[test]
    fn what_holds_no_key_is_told() {
        let state = tempfile::tempdir().unwrap();
        let ring = Keyring::new(state.path());
        ring.make("a.test", "1e", Algorithm::Ed25519Sha256).unwrap();
        let directory = ring.directory().join("a.test");
        fs::write(directory.join("2e.active.pem"), "nonsense").unwrap();
        fs::write(directory.join(".3e.77"), "half").unwrap();
        fs::write(directory.join("readme"), "").unwrap();
        fs::write(ring.directory().join("readme"), "").unwrap();
        let contents = ring.read().unwrap();
        assert_eq!((contents.keys.len(), contents.damaged.len()), (1, 1));
        assert!(is_selector("202611e") && !is_selector("a.b") && !is_selector("../x") && !is_selector(""));
    }
}
