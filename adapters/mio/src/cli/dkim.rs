//! `postier dkim …`: keys that sign what leaves, and their records in the DNS.
//!
//! All of it runs as the server's user, whose keys they are. A key signs once its record has been seen; the running server
//! hears of it at once.

use std::io::ErrorKind;
use std::path::Path;

use postier_core::dkim::{Algorithm, record};
use postier_core::dns::name::DomainName;
use postier_core::dns::resolver::Resolver;
use postier_core::dns::{Found, Kind, Question, Records};
use postier_core::mime::date::civil_from_days;
use postier_host::clock;
use postier_host::config::Settings;
use postier_host::dkim::keyring::{Contents, KeyFile, Keyring, State, is_selector};
use postier_host::files::DirectFiles;
use postier_host::identity::Identity;
use postier_host::lookup::look_up;
use serde_json::{Value, json};

use super::control::{self, Told};
use super::output::{Failure, complain, say, say_json};
use super::{DkimKeyArgs, DkimNewArgs, ListArgs};

/// Selectors that are tried for a month.
const SELECTORS_MAX: u32 = 100;

pub(super) fn new(args: &DkimNewArgs) -> Result<(), Failure> {
    let settings = Settings::read(&args.config.config, &DirectFiles)?;
    let domain = domain(&settings, args.domain.as_deref())?;
    let ring = open(&settings)?;
    let used = read(&ring)?;
    let stem = match &args.selector {
        Some(selector) if is_selector(&format!("{selector}e")) => selector.clone(),
        Some(selector) => {
            let why = format!("\"{selector}\" is no selector: write lower-case letters, digits and hyphens");
            return Err(Failure::Usage(why));
        }
        None => free_selector(&used, &domain)?,
    };
    let mut made = Vec::new();
    for (end, algorithm) in [("r", Algorithm::RsaSha256), ("e", Algorithm::Ed25519Sha256)] {
        let selector = format!("{stem}{end}");
        let key = ring.make(&domain, &selector, algorithm).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Failure::Failed(format!(
                "{selector} has been used for {domain}; name another with --selector"
            )),
            _ => Failure::io(ring.directory().display(), &error),
        })?;
        made.push(key);
    }
    if args.json {
        say_json(&made.iter().map(as_json).collect());
        return Ok(());
    }
    say(&format!(
        "Two keys for {domain}. Nothing is signed with them before their records are in the DNS:\n"
    ));
    for key in &made {
        say(&records(key));
    }
    say("\nWhen they are there, `postier dkim check` finds them, and the keys are used from then on.\n");
    Ok(())
}

pub(super) fn check(args: &ListArgs) -> Result<(), Failure> {
    let settings = Settings::read(&args.config.config, &DirectFiles)?;
    // Before the user is changed: a resolv.conf may be root's.
    let config = super::serve::resolvers(&settings);
    let ring = open(&settings)?;
    let mut contents = read(&ring)?;
    let seed = crate::server::secret_seed().map_err(|error| Failure::io("no randomness", &error))?;
    let mut resolver = Resolver::new(config, seed);
    let in_use = contents.keys.iter().enumerate().filter(|(_, key)| key.state != State::Retired);
    let looked: Vec<_> = in_use.map(|(n, key)| (n, look(&mut resolver, key))).collect();
    let seen: Vec<usize> = looked.iter().filter(|(_, seen)| seen.is_ok()).map(|(n, _)| *n).collect();
    let missing = looked.len() - seen.len();
    let before: Vec<State> = contents.keys.iter().map(|key| key.state).collect();
    let retired = ring
        .activate(&mut contents.keys, &seen)
        .map_err(|error| Failure::io(ring.directory().display(), &error))?;
    for old in retired.iter().filter_map(|n| contents.keys.get(*n)) {
        complain(&format!("{}: retired; leave its record in the DNS for a week", old.record_name()));
    }
    if contents.keys.iter().map(|key| key.state).ne(before) {
        tell(&settings.state);
    }
    let line = |(n, seen): (usize, Result<(), String>)| {
        let key = contents.keys.get(n)?;
        Some((as_json(key), key.record_name(), key.state, seen))
    };
    let lines: Vec<_> = looked.into_iter().filter_map(line).collect();
    if args.json {
        let value = |(json, _, _, seen): &(Value, String, State, Result<(), String>)| {
            let mut json = json.clone();
            json["record_seen"] = seen.is_ok().into();
            json["trouble"] = seen.as_ref().err().map_or(Value::Null, |why| why.as_str().into());
            json
        };
        say_json(&lines.iter().map(value).collect());
    } else {
        for (_, name, state, seen) in &lines {
            let words = match seen {
                Ok(()) => "its record is there".to_owned(),
                Err(why) => why.clone(),
            };
            say(&format!("{name}: {}; {words}\n", state.name()));
        }
        if lines.is_empty() {
            complain("there are no keys; `postier dkim new` makes some");
        }
    }
    match missing {
        0 => Ok(()),
        _ => Err(Failure::Failed(
            "not all records are in the DNS; `postier dkim list --records` prints them, and a new one may take its time"
                .into(),
        )),
    }
}

pub(super) fn list(args: &ListArgs, with_records: bool) -> Result<(), Failure> {
    let settings = Settings::read(&args.config.config, &DirectFiles)?;
    let contents = read(&open(&settings)?)?;
    if args.json {
        say_json(&contents.keys.iter().map(as_json).collect());
        return Ok(());
    }
    if contents.keys.is_empty() {
        complain("there are no keys, and nothing is signed; `postier dkim new` makes some");
    }
    for key in &contents.keys {
        say(&format!("{}  {}  {}\n", key.record_name(), key.key.algorithm().name(), key.state.name()));
        if with_records {
            say(&records(key));
        }
    }
    Ok(())
}

pub(super) fn retire(args: &DkimKeyArgs) -> Result<(), Failure> {
    let settings = Settings::read(&args.config.config, &DirectFiles)?;
    let domain = domain(&settings, args.domain.as_deref())?;
    let ring = open(&settings)?;
    let mut contents = read(&ring)?;
    let found = contents.keys.iter_mut().find(|key| key.domain == domain && key.selector == args.selector);
    let Some(key) = found.filter(|key| key.state != State::Retired) else {
        let why = format!("{domain} has no key {} in use; `postier dkim list` says which", args.selector);
        return Err(Failure::Failed(why));
    };
    ring.change(key, State::Retired).map_err(|error| Failure::io(ring.directory().display(), &error))?;
    say(&format!("{}: retired; leave its record in the DNS for a week\n", key.record_name()));
    tell(&settings.state);
    Ok(())
}

/// The keyring, as the user whose it is.
fn open(settings: &Settings) -> Result<Keyring, Failure> {
    let user = &settings.user.value;
    let identity = Identity::lookup(user).map_err(|error| Failure::io(user, &error))?;
    crate::server::prepare_state(&settings.state, identity.as_ref())
        .map_err(|error| Failure::io(settings.state.display(), &error))?;
    if let Some(identity) = identity {
        let become_it = identity.assume();
        become_it.map_err(|error| {
            Failure::io(format!("only root and {user} can look at the keys; cannot become {user}"), &error)
        })?;
    }
    Ok(Keyring::new(&settings.state))
}

fn read(ring: &Keyring) -> Result<Contents, Failure> {
    let contents = ring.read().map_err(|error| Failure::io(ring.directory().display(), &error))?;
    for (path, why) in &contents.damaged {
        complain(&format!("warning: {}: {why}", path.display()));
    }
    Ok(contents)
}

/// A domain to sign for, in A-labels: one of ours, or any other that is named.
fn domain(settings: &Settings, wanted: Option<&str>) -> Result<String, Failure> {
    let wanted = wanted.unwrap_or_else(|| settings.first_domain());
    match DomainName::parse(wanted) {
        Some(name) if !name.is_root() => Ok(name.as_str().to_owned()),
        Some(_) | None => Err(Failure::Usage(format!("\"{wanted}\" is no domain; write `example.org`"))),
    }
}

/// This month, with a number where that is taken.
fn free_selector(used: &Contents, domain: &str) -> Result<String, Failure> {
    let (year, month, _) = civil_from_days(clock::now().wall.secs.div_euclid(86_400));
    let month = format!("{year}{month:02}");
    let taken = |stem: &str| {
        used.keys.iter().any(|key| {
            key.domain == domain && (key.selector == format!("{stem}r") || key.selector == format!("{stem}e"))
        })
    };
    let later = (2..SELECTORS_MAX).map(|n| format!("{month}-{n}"));
    let mut stems = std::iter::once(month.clone()).chain(later);
    stems.find(|stem| !taken(stem)).ok_or_else(|| {
        Failure::Failed(format!("{domain} has many keys of this month; name one with --selector"))
    })
}

/// Whether a key's record is in the DNS; otherwise why not.
fn look(resolver: &mut Resolver, key: &KeyFile) -> Result<(), String> {
    let Some(name) = DomainName::parse(&key.record_name()) else {
        return Err("its name is too long for the DNS".into());
    };
    match look_up(resolver, Question { name, kind: Kind::Txt }) {
        Ok(Found { records: Records::Txt(texts), .. }) => {
            let held = texts.iter().any(|text| key.is_held_by(text));
            held.then_some(()).ok_or_else(|| "its record is there, and is not the one for this key".into())
        }
        Ok(_) => Err("its record is not there".into()),
        Err(failure) if failure.is_temporary() => Err(format!("the DNS does not say: {}", failure.text())),
        Err(_) => Err("its record is not there".into()),
    }
}

/// A key's record, for a zone file and for the forms of web pages.
fn records(key: &KeyFile) -> String {
    let (name, text) = (key.record_name(), key.record_text());
    format!(
        "\n  for a zone file:\n{}\n  for a form, type TXT:\n{name}\n{text}\n",
        record::zone_line(&name, &text)
    )
}

fn as_json(key: &KeyFile) -> Value {
    json!({
        "domain": key.domain,
        "selector": key.selector,
        "algorithm": key.key.algorithm().name(),
        "state": key.state.name(),
        "name": key.record_name(),
        "text": key.record_text(),
    })
}

/// The server reads its keys again.
fn tell(state: &Path) {
    match control::reload(state) {
        Ok(Told::Done | Told::NobodyThere) => {}
        Ok(Told::Refused(why)) => {
            complain(&format!("warning: the server has not read its keys again: {why}"))
        }
        Err(error) => complain(&format!("warning: the server could not be told: {error}")),
    }
}
