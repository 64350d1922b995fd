//! `postier config check`: the checks of a start, and what would be served.

use std::path::Path;

use postier_core::site::{Sending, Site};
use postier_host::config::{Config, Warning};
use postier_host::dkim::keyring::{KeyFile, Keyring, State};
use postier_host::pickup::directory;
use serde_json::{Map, Value, json};

use super::output::{Failure, complain_of, problems_json, say, say_json};

pub(super) fn check(path: &Path, json: bool) -> Result<(), Failure> {
    let loaded = Config::load(path).and_then(|(config, mut warnings)| {
        config.check_state()?;
        warnings.extend(config.warn_of_rights());
        warnings.extend(config.warn_of_closed_state());
        Ok((config, warnings))
    });
    if json {
        let (value, outcome) = match &loaded {
            Ok((config, warnings)) => (as_json(config, warnings), Ok(())),
            Err(errors) => {
                let problems = problems_json(&errors.problems);
                (json!({ "ok": false, "problems": problems }), Err(Failure::Said))
            }
        };
        say_json(&value);
        return outcome;
    }
    let (config, warnings) = loaded?;
    complain_of(&warnings);
    say(&as_text(&config));
    Ok(())
}

fn as_text(config: &Config) -> String {
    let settings = &config.settings;
    let domains: Vec<_> = settings.domains.iter().map(|domain| domain.value.as_str()).collect();
    let mut lines = vec![
        ("hostname", settings.hostname.value.clone()),
        ("domains", domains.join(", ")),
        (
            "certificate",
            format!(
                "{} for {}, to {}",
                settings.certificate.value.display(),
                config.tls.names().join(", "),
                config.tls.validity().last_day()
            ),
        ),
        ("accounts", format!("{} in {}", config.site.accounts().count(), settings.accounts.value.display())),
        (
            "aliases",
            match settings.aliases_path() {
                Some(path) => format!("{} in {}", config.site.alias_count(), path.display()),
                None => "none".to_owned(),
            },
        ),
        ("forwards", forwards(&config.site)),
        ("mail", settings.maildir.value.display().to_string()),
        ("state", settings.state.display().to_string()),
        ("sendmail", directory(&settings.state).display().to_string()),
        ("user", config.identity.name.clone()),
        ("sending", sending(config.site.sending.as_deref())),
        ("signing", signing(&settings.state)),
    ];
    for (service, addresses) in settings.listen.iter() {
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        lines.push((
            service.name(),
            if addresses.is_empty() { "off".to_owned() } else { addresses.join(", ") },
        ));
    }
    lines.iter().map(|(name, value)| format!("{name:<12} {value}\n")).collect()
}

/// Where aliases lead elsewhere: the addresses, as long as they are few.
fn forwards(site: &Site) -> String {
    const SHOWN_MAX: usize = 5;
    let all = site.forwards();
    if all.is_empty() {
        return "none".to_owned();
    }
    let shown: Vec<&str> = all.iter().take(SHOWN_MAX).copied().collect();
    let more = match all.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}

/// Where mail for other servers goes.
fn sending(sending: Option<&Sending>) -> String {
    let Some(sending) = sending else { return "off".to_owned() };
    let to = match &sending.relay {
        Some(relay) => format!("by {} port {}", relay.host, relay.port),
        None => "to each domain's own servers".to_owned(),
    };
    let routes = match sending.routes.len() {
        0 => String::new(),
        count => format!("; {count} domains by ways of their own"),
    };
    let policies = if sending.mta_sts { "" } else { "; what domains say by HTTPS (MTA-STS) does not count" };
    format!("{to}{routes}{policies}")
}

/// Whose mail is signed when it leaves.
fn signing(state: &Path) -> String {
    let Ok(contents) = Keyring::new(state).read() else {
        return "the keys are for root and the server's user to see".to_owned();
    };
    let active = contents.keys.iter().filter(|key| key.state == State::Active);
    let names: Vec<String> = active.map(KeyFile::record_name).collect();
    match (names.is_empty(), contents.keys.iter().any(|key| key.state == State::Pending)) {
        (false, _) => names.join(", "),
        (true, true) => "not yet; `postier dkim check` looks whether the records are in the DNS".to_owned(),
        (true, false) => "nothing; `postier dkim new` makes keys".to_owned(),
    }
}

fn as_json(config: &Config, warnings: &[Warning]) -> Value {
    let settings = &config.settings;
    let listen: Map<String, Value> = settings
        .listen
        .iter()
        .map(|(service, addresses)| {
            (service.name().to_owned(), addresses.iter().map(ToString::to_string).collect())
        })
        .collect();
    json!({
        "ok": true,
        "problems": problems_json(warnings),
        "hostname": settings.hostname.value,
        "sending": sending(config.site.sending.as_deref()),
        "signing": signing(&settings.state),
        "domains": settings.domains.iter().map(|domain| &domain.value).collect::<Vec<_>>(),
        "certificate": {
            "file": settings.certificate.value,
            "names": config.tls.names(),
            "last_day": config.tls.validity().last_day(),
        },
        "accounts": config.site.accounts().count(),
        "aliases": config.site.alias_count(),
        "forwards": config.site.forwards(),
        "mail": settings.maildir.value,
        "state": settings.state,
        "sendmail": directory(&settings.state),
        "user": config.identity.name,
        "listen": listen,
    })
}
