//! Who the server is: the system user it becomes, and the certificate it shows.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Settings, read_named, reason};
use crate::files::ReadFiles;
use crate::identity::Identity;
use crate::report::Problem;
use crate::tls::TlsIdentity;

/// Days before a certificate's end at which a person should know.
const EXPIRY_WARNING_DAYS: i64 = 14;
const DAY_SECONDS: i64 = 86_400;

pub(super) fn check_user(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Identity> {
    let name = &settings.user.value;
    let place = |problem: Problem| {
        if settings.user.span.is_empty() {
            problem.in_file(&settings.path)
        } else {
            settings.point(problem, settings.user.span.clone(), "")
        }
    };
    let current = match Identity::current() {
        Ok(current) => current,
        Err(error) => {
            problems.push(Problem::error(format!("the system's users cannot be read: {}", reason(&error))));
            return None;
        }
    };
    match Identity::lookup(name) {
        Ok(Some(identity)) if identity.uid == current.uid || current.uid == 0 => Some(identity),
        // Only root can become somebody else: the server stays who started it.
        Ok(_) if current.uid != 0 => Some(current),
        Ok(_) => {
            let problem = place(Problem::error(format!("there is no system user `{name}`")));
            let advice = format!(
                "make it with `useradd --system --home-dir {} {name}`, or name the owner of the mail: `user = \"vmail\"`",
                settings.state.display()
            );
            problems.push(problem.advise(advice));
            None
        }
        Err(error) => {
            let title = format!("the system user `{name}` cannot be looked up: {}", reason(&error));
            problems.push(place(Problem::error(title)));
            None
        }
    }
}

/// What a person should know of the user that a server will be from its start.
pub(super) fn warn_of_rights(settings: &Settings, identity: &Identity) -> Option<Problem> {
    let user = &settings.user;
    let (title, advice) = if identity.uid == 0 {
        (
            "the server keeps all rights of root: who breaks into it has the whole machine".to_owned(),
            "name a user that owns the mail and nothing else: `user = \"postier\"`",
        )
    } else if !user.span.is_empty() && !is_named(identity, &user.value) {
        let title = format!("the server will run as {}, not as {}", identity.name, user.value);
        (title, "only root can become another user")
    } else {
        return None;
    };
    Some(settings.point(Problem::warning(title), user.span.clone(), "").advise(advice))
}

fn is_named(identity: &Identity, name: &str) -> bool {
    Identity::lookup(name).ok().flatten().is_some_and(|named| named.uid == identity.uid)
}

pub(super) fn check_tls(
    settings: &Settings,
    files: &dyn ReadFiles,
    problems: &mut Vec<Problem>,
) -> Option<TlsIdentity> {
    let advice = "name the certificate's file in PEM form, with its chain";
    let certificate = read_named(settings, files, "the certificate", &settings.certificate, advice, problems);
    let key = read_named(settings, files, "the private key", &settings.key, "name the key's file", problems);
    let (certificate, key) = (certificate?, key?);
    if key.mode & 0o077 != 0 {
        let who = if key.mode & 0o007 != 0 { "everybody" } else { "its group" };
        let title = format!("the private key is open to {who}: mode {:04o}", key.mode & 0o7777);
        let problem = settings.point(Problem::warning(title), settings.key.span.clone(), "");
        problems.push(problem.advise(format!("chmod 600 {}", settings.key.value.display())));
    }
    let tls = match TlsIdentity::load(&certificate.octets, &key.octets) {
        Ok(tls) => tls,
        Err(error) => {
            let place = if error.is_about_key() { &settings.key } else { &settings.certificate };
            let title = format!("{error}: {}", place.value.display());
            let problem = settings.point(Problem::error(title), place.span.clone(), "");
            problems.push(problem.advise(error.advice()));
            return None;
        }
    };
    let hostname = &settings.hostname.value;
    if !tls.covers(hostname) {
        let title = format!("the certificate is not for {hostname}");
        let names = tls.names().join(", ");
        let problem = settings.point(
            Problem::error(title),
            settings.hostname.span.clone(),
            "clients connect to this name",
        );
        let advice = if names.is_empty() {
            format!("it names no host (a subject's common name does not count): get one for {hostname}")
        } else {
            format!(
                "the certificate is for {names}: name one of them as `hostname`, or get a certificate for {hostname}"
            )
        };
        problems.push(problem.advise(advice));
    }
    check_dates(settings, &tls, problems);
    Some(tls)
}

fn check_dates(settings: &Settings, tls: &TlsIdentity, problems: &mut Vec<Problem>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs().cast_signed());
    let (validity, last_day) = (tls.validity(), tls.validity().last_day());
    let title = if now > validity.not_after {
        format!("the certificate has expired: its last day was {last_day}")
    } else if now < validity.not_before {
        "the certificate is not valid yet: perhaps the clock is wrong".to_owned()
    } else if validity.not_after - now < EXPIRY_WARNING_DAYS * DAY_SECONDS {
        format!("the certificate expires soon: its last day is {last_day}")
    } else {
        return;
    };
    let problem = settings.point(Problem::warning(title), settings.certificate.span.clone(), "");
    problems.push(problem.advise("renew it, then send the server SIGHUP"));
}
