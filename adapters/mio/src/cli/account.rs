//! `postier user …`: editing the users file, and telling the running server.

use std::io::{self, IsTerminal, Read};
use std::path::Path;

use postier_core::site::check_user;
use postier_host::config::{Settings, check_people};
use postier_host::files::DirectFiles;
use postier_host::password::{PASSWORD_BYTES_MAX, generate_password, hash_password, make_scram};
use postier_host::report::did_you_mean;
use postier_host::users::{User, UsersFile, UsersFileLock};
use serde_json::{Value, json};

use super::control::{self, Told};
use super::output::{Failure, complain, complain_of, say, say_json};
use super::{PasswordArgs, UserArgs, prompt};

pub(super) fn add(args: &UserArgs, password: &PasswordArgs) -> Result<(), Failure> {
    let settings = Settings::read(&args.config.config, &DirectFiles)?;
    let name = Name::parse(&args.address, &settings)?;
    let exists = |file: &UsersFile| {
        let found = name.find(file, &settings).map(|_| ());
        found.map_or(Ok(()), |()| {
            let address = name.address();
            Err(Failure::Failed(format!(
                "{address} is there already; `postier user passwd {address}` changes its password"
            )))
        })
    };
    // Before the password is asked for, and again under the lock.
    if let Ok(text) = std::fs::read(&settings.accounts.value) {
        exists(&UsersFile::parse(text).0)?;
    }
    let chosen = choose_password(password)?;
    let mut edit = Edit::begin(&settings)?;
    exists(&edit.file)?;
    edit.file.add(&name.address(), &chosen.hash, chosen.scram.as_ref());
    edit.finish()?;
    say(&format!("added {}\n", name.address()));
    chosen.say();
    tell(&settings);
    Ok(())
}

pub(super) fn change_password(args: &UserArgs, password: &PasswordArgs) -> Result<(), Failure> {
    let settings = Settings::read(&args.config.config, &DirectFiles)?;
    let name = Name::parse(&args.address, &settings)?;
    let chosen = choose_password(password)?;
    let mut edit = Edit::begin(&settings)?;
    let user = name.require(&edit.file, &settings)?;
    edit.file.set_password(&user, &chosen.hash, chosen.scram.as_ref());
    edit.finish()?;
    say(&format!("{} has a new password\n", name.address()));
    chosen.say();
    tell(&settings);
    Ok(())
}

pub(super) fn remove(args: &UserArgs, force: bool) -> Result<(), Failure> {
    let settings = Settings::read(&args.config.config, &DirectFiles)?;
    let name = Name::parse(&args.address, &settings)?;
    let mut edit = Edit::begin(&settings)?;
    let user = name.require(&edit.file, &settings)?;
    let good_before = check_people(&settings, &DirectFiles, edit.file.text()).is_ok();
    edit.file.remove(&user);
    if let Err(errors) = check_people(&settings, &DirectFiles, edit.file.text())
        && good_before
        && !force
    {
        complain_of(&errors.problems);
        let address = name.address();
        return Err(Failure::Failed(format!(
            "without {address} the server could not start; `--force` removes it all the same"
        )));
    }
    edit.finish()?;
    let maildir = settings.layout.expand(name.user.as_bytes(), name.domain.as_bytes());
    say(&format!("removed {}; its mail stays in {}\n", name.address(), String::from_utf8_lossy(&maildir)));
    tell(&settings);
    Ok(())
}

pub(super) fn list(path: &Path, json: bool) -> Result<(), Failure> {
    let settings = Settings::read(path, &DirectFiles)?;
    let text = match std::fs::read(&settings.accounts.value) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Failure::io(settings.accounts.value.display(), &error)),
    };
    let (file, errors) = UsersFile::parse(text);
    for error in errors {
        let path = settings.accounts.value.display();
        complain(&format!(
            "warning: {path}:{}: this line is no account; see `postier config check`",
            error.line
        ));
    }
    let rows: Vec<Row> = file.users().iter().map(|user| Row::of(user, &settings)).collect();
    if json {
        say_json(&rows.iter().map(Row::as_json).collect());
        return Ok(());
    }
    let width = rows.iter().map(|row| row.address.len()).max().unwrap_or(0);
    let line = |row: &Row| {
        let scram = if row.scram { "+ SCRAM-SHA-256" } else { "" };
        format!("{:width$}  {} {scram}", row.address, row.scheme).trim_end().to_owned() + "\n"
    };
    say(&rows.iter().map(line).collect::<String>());
    Ok(())
}

/// An account as the list shows it.
pub(super) struct Row {
    pub(super) address: String,
    /// `ARGON2ID`; `locked` when nobody can log in.
    scheme: String,
    scram: bool,
    pub(super) maildir: String,
}

impl Row {
    pub(super) fn of(user: &User, settings: &Settings) -> Self {
        let lossy = |octets: &[u8]| String::from_utf8_lossy(octets).to_lowercase();
        let domain = user.domain.as_deref().map_or_else(|| settings.first_domain().to_owned(), lossy);
        let domain = settings.domain_named(&domain).map_or(domain.clone(), str::to_owned);
        let name = lossy(&user.user);
        let secret = String::from_utf8_lossy(&user.secret);
        let scheme = match secret.strip_prefix('{').and_then(|secret| secret.split_once('}')) {
            Some((scheme, _)) => scheme.to_uppercase(),
            None if secret.starts_with('$') => "CRYPT".to_owned(),
            None => "locked".to_owned(),
        };
        let maildir = settings.layout.expand(name.as_bytes(), domain.as_bytes());
        let maildir = String::from_utf8_lossy(&maildir).into_owned();
        Self { address: format!("{name}@{domain}"), scheme, scram: user.scram.is_some(), maildir }
    }

    fn as_json(&self) -> Value {
        json!({ "address": self.address, "scheme": self.scheme, "scram": self.scram, "maildir": self.maildir })
    }
}

/// An address given on the command line, found to be one of this site's.
pub(super) struct Name {
    user: String,
    domain: String,
}

impl Name {
    pub(super) fn parse(address: &str, settings: &Settings) -> Result<Self, Failure> {
        let (user, domain) = address.rsplit_once('@').unwrap_or((address, settings.first_domain()));
        let domain = domain.to_lowercase();
        let Some(domain) = settings.domain_named(&domain) else {
            let known: Vec<_> = settings.domains.iter().map(|domain| domain.value.as_str()).collect();
            let hint = match did_you_mean(&domain, known.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("`domains` in {} are {}", settings.path.display(), known.join(", ")),
            };
            return Err(Failure::Usage(format!("the domain {domain} is not ours; {hint}")));
        };
        check_user(user.as_bytes())
            .map_err(|why| Failure::Usage(format!("{address} is no address for an account: {why}")))?;
        Ok(Self { user: user.to_lowercase(), domain: domain.to_owned() })
    }

    pub(super) fn address(&self) -> String {
        format!("{}@{}", self.user, self.domain)
    }

    fn find<'f>(&self, file: &'f UsersFile, settings: &Settings) -> Option<&'f User> {
        file.find(&self.user, &self.domain, settings.first_domain())
    }

    pub(super) fn require(&self, file: &UsersFile, settings: &Settings) -> Result<User, Failure> {
        if let Some(user) = self.find(file, settings) {
            return Ok(user.clone());
        }
        let addresses: Vec<_> = file.users().iter().map(|user| Row::of(user, settings).address).collect();
        let hint = did_you_mean(&self.address(), addresses.iter().map(String::as_str));
        let hint = hint.map_or("`postier user list` shows all accounts".to_owned(), |near| {
            format!("did you mean {near}?")
        });
        Err(Failure::Failed(format!("there is no account {}; {hint}", self.address())))
    }
}

/// The users file while it is being changed.
struct Edit {
    lock: UsersFileLock,
    path: String,
    file: UsersFile,
}

impl Edit {
    fn begin(settings: &Settings) -> Result<Self, Failure> {
        let path = settings.accounts.value.display().to_string();
        let failed = |error: io::Error| Failure::io(&path, &error);
        let mut lock = UsersFileLock::acquire(&settings.accounts.value).map_err(failed)?;
        let (file, _) = UsersFile::parse(lock.read().map_err(failed)?);
        Ok(Self { lock, path, file })
    }

    fn finish(self) -> Result<(), Failure> {
        self.lock.replace(self.file.text()).map_err(|error| Failure::io(self.path, &error))
    }
}

/// A password as it is to be stored.
struct Chosen {
    hash: String,
    scram: Option<postier_core::site::ScramVerifier>,
    /// To be shown to the person.
    generated: Option<String>,
}

impl Chosen {
    fn say(&self) {
        if let Some(password) = &self.generated {
            say(&format!("password: {password}\n"));
        }
    }
}

fn choose_password(args: &PasswordArgs) -> Result<Chosen, Failure> {
    let (password, generated) = if args.generate {
        (Vec::new(), true)
    } else if args.stdin {
        (read_first_line()?, false)
    } else if io::stdin().is_terminal() {
        let password = ask()?;
        let generated = password.is_empty();
        (password, generated)
    } else {
        return Err(Failure::Usage(
            "there is no terminal to ask for a password; give `--stdin` or `--generate`".to_owned(),
        ));
    };
    let password = if generated { generate_password().into_bytes() } else { password };
    if password.is_empty() || password.len() > PASSWORD_BYTES_MAX || password.contains(&0) {
        return Err(Failure::Usage(format!("a password has 1 to {PASSWORD_BYTES_MAX} octets, and no NUL")));
    }
    let scram = if args.no_scram { None } else { make_scram(&password) };
    if scram.is_none() && !args.no_scram {
        complain("note: SCRAM does not allow this password; clients will send it inside TLS");
    }
    let shown = generated.then(|| String::from_utf8_lossy(&password).into_owned());
    Ok(Chosen { hash: hash_password(&password), scram, generated: shown })
}

fn read_first_line() -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let read = io::stdin().lock().take(64 * 1024).read_to_end(&mut text);
    read.map_err(|error| Failure::io("standard input", &error))?;
    let line = text.split(|&b| b == b'\n').next().unwrap_or_default();
    Ok(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
}

fn ask() -> Result<Vec<u8>, Failure> {
    let ask = |question| {
        prompt::ask_silently(question).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => Failure::Failed("given up; nothing was changed".to_owned()),
            _ => Failure::io("the terminal", &error),
        })
    };
    let password = ask("Password (empty: one is generated): ")?;
    if password.is_empty() || ask("The same again: ")? == password {
        return Ok(password);
    }
    Err(Failure::Failed("the two are not the same; nothing was changed".to_owned()))
}

/// The file has been changed; whether a server takes it over does not change the outcome.
fn tell(settings: &Settings) {
    match control::reload(&settings.state) {
        Ok(Told::Done) => complain("the running server knows it"),
        Ok(Told::NobodyThere) => complain("no server is running"),
        Ok(Told::Refused(why)) => {
            // The server's words have lines and a caret of their own.
            let gap = if why.contains('\n') { '\n' } else { ' ' };
            complain(&format!("warning: the running server keeps its old accounts:{gap}{why}"))
        }
        Err(error) => {
            let why = postier_host::config::reason(&error);
            complain(&format!("warning: the running server could not be told: {why}; send it SIGHUP"));
        }
    }
}
