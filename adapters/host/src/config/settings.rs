//! What the TOML file says, every key with its default, before any other file is looked at.

use std::cell::RefCell;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use postier_core::imap::server::{Mask, capability_names};
use postier_core::limits::{Limits, LoginLimits};
use postier_core::server::Service;
use postier_core::site::{BareNewline, LoginWithoutTls, MaildirTemplate, Quota, TemplateError, fold_domain};
use toml::de::DeTable;

use super::sending::{self, Sections, SendSettings};
use super::table::{Located, Source, Table};
use crate::files::ReadFiles;
use crate::report::{Errors, Problem, did_you_mean};

/// The state directory of a configuration that names none.
pub const STATE: &str = "/var/lib/postier";

/// Every key there is, with its section.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("", "hostname"),
    ("", "domains"),
    ("", "user"),
    ("", "state"),
    ("tls", "certificate"),
    ("tls", "key"),
    ("accounts", "file"),
    ("mail", "maildir"),
    ("aliases", "file"),
    ("login", "without_tls"),
    ("login", "free_failures"),
    ("login", "delay_seconds"),
    ("login", "account_delay_seconds"),
    ("login", "remember_seconds"),
    ("listen", "smtp"),
    ("listen", "submission"),
    ("listen", "submissions"),
    ("listen", "imap"),
    ("listen", "imaps"),
    ("limits", "connections"),
    ("limits", "connections_per_address"),
    ("limits", "buffers_bytes"),
    ("limits", "message_bytes"),
    ("limits", "recipients"),
    ("limits", "smtp_idle_seconds"),
    ("limits", "imap_idle_seconds"),
    ("limits", "login_seconds"),
    ("limits", "event_loops"),
    ("quota", "bytes"),
    ("quota", "messages"),
    ("inbound", "bare_newline"),
    ("imap", "hide"),
    ("queue", "send"),
    ("queue", "tls"),
    ("queue", "mta_sts"),
    ("queue", "ipv4_only"),
    ("queue", "retry_seconds"),
    ("queue", "longest_retry_seconds"),
    ("queue", "expire_seconds"),
    ("queue", "delay_notice_seconds"),
    ("queue", "connections"),
    ("queue", "connections_per_destination"),
    ("relay", "from"),
    ("relay", "host"),
    ("relay", "port"),
    ("relay", "tls"),
    ("relay", "user"),
    ("relay", "password_file"),
    ("dns", "servers"),
    ("dns", "trusted"),
    ("log", "level"),
    ("log", "format"),
];

/// The configuration file, read. Paths in it are resolved against its directory, and absolute.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file itself.
    pub path: PathBuf,
    /// Its text, for messages that point into it.
    pub(super) text: String,
    /// `hostname`
    pub hostname: Located<String>,
    /// `domains`, at least one, in lower case.
    pub domains: Vec<Located<String>>,
    /// `user`; where it is not in the file its span is empty.
    pub user: Located<String>,
    /// `state`
    pub state: PathBuf,
    /// `[tls] certificate`
    pub certificate: Located<PathBuf>,
    /// `[tls] key`
    pub key: Located<PathBuf>,
    /// `[accounts] file`
    pub accounts: Located<PathBuf>,
    /// `[mail] maildir`, the path with its variables.
    pub maildir: Located<PathBuf>,
    /// The same, read.
    pub layout: MaildirTemplate,
    /// `[aliases] file`
    pub aliases: Option<Located<PathBuf>>,
    /// `[login] without_tls`
    pub login_without_tls: LoginWithoutTls,
    /// `[inbound] bare_newline`
    pub bare_newline: BareNewline,
    /// `[imap] hide`
    pub imap_masks: Arc<[Mask]>,
    /// `[quota]`: of an account without a rule of its own.
    pub quota: Quota,
    /// `[limits]`
    pub limits: Limits,
    /// `[limits] event_loops`: threads that serve connections; unset, as many as suit the machine.
    pub event_loops: Option<usize>,
    /// `[listen]`
    pub listen: Listen,
    /// `[queue]`, `[relay]`, `[routes]`, `[dns]`
    pub send: SendSettings,
    /// `[log]`
    pub log: LogSettings,
}

/// `[listen]`: the addresses of each service; none means that it is off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen([(Service, Vec<SocketAddr>); 5]);

impl Listen {
    /// The services in the order of [`Service::ALL`] with their addresses.
    pub fn iter(&self) -> impl Iterator<Item = (Service, &[SocketAddr])> {
        self.0.iter().map(|(service, addresses)| (*service, addresses.as_slice()))
    }

    /// One service's addresses.
    pub fn addresses(&self, service: Service) -> &[SocketAddr] {
        self.iter().find(|(found, _)| *found == service).map_or(&[], |(_, addresses)| addresses)
    }
}

/// The port a service has by its registration.
pub const fn standard_port(service: Service) -> u16 {
    match service {
        Service::Smtp => 25,
        Service::Submission => 587,
        Service::Submissions => 465,
        Service::Imap => 143,
        Service::Imaps => 993,
    }
}

/// `[log]`
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LogSettings {
    /// The least important thing that is logged.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

/// `[log] level`
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum LogLevel {
    /// What needs a person.
    Error,
    /// What may need a person.
    Warn,
    /// What a person may want to look up.
    #[default]
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// `[log] format`
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum LogFormat {
    /// For people and grep.
    #[default]
    Text,
    /// One object a line.
    Json,
}

impl Settings {
    /// Reads the configuration file alone.
    ///
    /// # Errors
    /// All mistakes in it, each with its place.
    pub fn read(path: &Path, files: &dyn ReadFiles) -> Result<Self, Errors> {
        let refuse = |problem: Problem| Errors { problems: vec![problem.in_file(path)] };
        let octets = match files.read(path) {
            Ok(file) => file.octets,
            Err(error) => {
                let problem =
                    Problem::error(format!("the configuration cannot be read: {}", super::reason(&error)));
                let advice = "name another file with `--config FILE`; `postier try` makes one to begin with";
                return Err(refuse(problem.advise(advice)));
            }
        };
        let text = String::from_utf8(octets).map_err(|_| {
            refuse(Problem::error("the configuration is not UTF-8").advise("save it as UTF-8 text"))
        })?;
        Self::parse(path, &text)
    }

    /// The state directory that a configuration names, whatever else is wrong with it: mail of programs is kept there until
    /// somebody has mended it. `None` if the file cannot be read, or where it says something of the state directory that
    /// cannot be understood.
    pub fn state_of_broken(path: &Path, files: &dyn ReadFiles) -> Option<PathBuf> {
        let text = String::from_utf8_lossy(&files.read(path).ok()?.octets).into_owned();
        let source = Source { path, text: &text, problems: RefCell::default() };
        let (table, _) = DeTable::parse_recoverable(&text);
        let root = Table::root(&source, table.get_ref());
        let named = root.string("state");
        let is_state = |line: &str| line.trim_start().trim_start_matches(['"', '\'']).starts_with("state");
        if named.is_none() && text.lines().any(is_state) {
            return None;
        }
        Some(state(&root, named)?.value)
    }

    /// Reads the text of a configuration file.
    ///
    /// # Errors
    /// All mistakes in it, each with its place.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Errors> {
        let source = Source { path, text, problems: RefCell::default() };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            let problem = source.error(format!("this is not TOML: {}", error.message()), span, "");
            let advice = match error.message() {
                "duplicate key" => "take one of them out",
                _ => "write `key = \"value\"` under `[section]` lines",
            };
            source.report(problem.advise(advice));
        }
        // Values that a syntax error has eaten would be reported as missing.
        let settings =
            if source.problems.borrow().is_empty() { read(&source, table.get_ref()) } else { None };
        let mut problems = source.problems.into_inner();
        // In the order of the file; what is missing from it comes last.
        problems.sort_by_key(|problem| problem.position().unwrap_or((usize::MAX, 0)));
        match settings {
            Some(settings) if problems.is_empty() => Ok(settings),
            Some(_) | None => Err(Errors { problems }),
        }
    }

    /// The file the aliases are in, if there is one.
    pub fn aliases_path(&self) -> Option<&Path> {
        self.aliases.as_ref().map(|aliases| aliases.value.as_path())
    }

    /// Every file the configuration is made of, itself included.
    pub fn files(&self) -> Vec<PathBuf> {
        let own = [&self.path, &self.certificate.value, &self.key.value, &self.accounts.value];
        let password = self.send.login.as_ref().map(|(_, file)| file.value.clone());
        own.into_iter().cloned().chain(self.aliases_path().map(Path::to_owned)).chain(password).collect()
    }

    /// One of our domains as the configuration spells it, in whatever case or form (Unicode, A-labels) it is given.
    /// A Maildir's place depends on this spelling alone.
    pub fn domain_named(&self, domain: &str) -> Option<&str> {
        let folded = fold_domain(domain.as_bytes());
        let mut domains = self.domains.iter().map(|known| known.value.as_str());
        domains.find(|known| fold_domain(known.as_bytes()) == folded)
    }

    /// The first domain: names without one belong to it.
    pub fn first_domain(&self) -> &str {
        self.domains.first().map_or("", |domain| &domain.value)
    }

    /// A problem that points into the configuration file.
    pub(super) fn point(&self, problem: Problem, span: Range<usize>, label: &str) -> Problem {
        problem.at(&self.path, self.text.as_bytes(), span, label)
    }
}

/// The state directory that is named, or else the usual one.
fn state(root: &Table<'_, '_>, named: Option<Located<String>>) -> Option<Located<PathBuf>> {
    root.path(Some(named.unwrap_or_else(|| Located { value: STATE.to_owned(), span: 0..0 })))
}

/// `None` when something needed is missing, which has then been reported.
fn read(source: &Source<'_>, table: &DeTable<'_>) -> Option<Settings> {
    let root = Table::root(source, table);
    let hostname = root.required("hostname", "hostname = \"mail.example.org\"");
    let hostname = hostname.map(|name| lower_name(source, "hostname", name));
    let domains = domains(source, &root);
    let unset = |value: &str| Located { value: value.to_owned(), span: 0..0 };
    let user = root.string("user").unwrap_or_else(|| unset("postier"));
    let state = state(&root, root.string("state"));

    let tls = root.section("tls");
    let certificate =
        tls.path(tls.required("certificate", "certificate = \"/etc/ssl/certs/mail.example.org.crt\""));
    let key = tls.path(tls.required("key", "key = \"/etc/ssl/private/mail.example.org.key\""));
    let accounts = root.section("accounts");
    let accounts_file = accounts.path(accounts.required("file", "file = \"/etc/postier/users\""));
    let mail = root.section("mail");
    let maildir = mail.path(mail.required("maildir", "maildir = \"/var/mail/{domain}/{user}\""));
    let layout = maildir.as_ref().and_then(|maildir| layout(source, maildir));
    let aliases = root.section("aliases");
    let aliases_file = aliases.path(aliases.string("file"));

    let login = root.section("login");
    let without_tls = [("never", LoginWithoutTls::Never), ("loopback", LoginWithoutTls::Loopback)];
    let login_without_tls = login.choice("without_tls", &without_tls).unwrap_or_default();
    let quota_section = root.section("quota");
    let quota = Quota {
        bytes: quota_section.integer("bytes", 1..=1 << 60),
        messages: quota_section.integer("messages", 1..=1 << 40),
    };
    let inbound = root.section("inbound");
    let bare_newline = [("accept", BareNewline::Accept), ("refuse", BareNewline::Refuse)];
    let bare_newline = inbound.choice("bare_newline", &bare_newline).unwrap_or_default();
    let imap = root.section("imap");
    let imap_masks = imap_masks(source, &imap);
    let (listen_section, limits_section, log_section) =
        (root.section("listen"), root.section("limits"), root.section("log"));
    let listen = listen(source, &listen_section);
    let limits = Limits { login: login_limits(&login), ..limits(&limits_section) };
    let event_loops =
        limits_section.integer("event_loops", 1..=64).and_then(|number| usize::try_from(number).ok());
    let log = log(&log_section);
    let sending = Sections {
        queue: root.section("queue"),
        relay: root.section("relay"),
        routes: root.section("routes"),
        dns: root.section("dns"),
    };
    let send = sending::read(source, &sending);
    for section in [
        tls,
        accounts,
        mail,
        aliases,
        login,
        quota_section,
        inbound,
        imap,
        listen_section,
        limits_section,
        log_section,
        sending.queue,
        sending.relay,
        sending.dns,
        root,
    ] {
        section.finish(KEYS);
    }

    Some(Settings {
        path: source.path.to_owned(),
        text: source.text.to_owned(),
        hostname: hostname?,
        domains: domains?,
        user,
        state: state?.value,
        certificate: certificate?,
        key: key?,
        accounts: accounts_file?,
        maildir: maildir?,
        layout: layout?,
        aliases: aliases_file,
        login_without_tls,
        bare_newline,
        imap_masks,
        quota,
        limits,
        event_loops,
        listen,
        send,
        log,
    })
}

fn domains(source: &Source<'_>, root: &Table<'_, '_>) -> Option<Vec<Located<String>>> {
    const EXAMPLE: &str = "domains = [\"example.org\"]";
    let before = source.problems.borrow().len();
    let Some(found) = root.strings("domains") else {
        if source.problems.borrow().len() == before {
            root.missing("domains", EXAMPLE);
        }
        return None;
    };
    if found.is_empty() && source.problems.borrow().len() == before {
        let title = "`domains` is empty: mail for nobody would be accepted";
        let problem = source.error(title, root.span_of("domains"), "");
        source.report(problem.advise(format!("write `{EXAMPLE}`")));
        return None;
    }
    let mut domains: Vec<Located<String>> = Vec::new();
    for domain in found {
        let domain = lower_name(source, "domains", domain);
        let folded = fold_domain(domain.value.as_bytes());
        if domains.iter().any(|other| fold_domain(other.value.as_bytes()) == folded) {
            source.report(source.error(
                format!("the domain {} is there twice", domain.value),
                domain.span,
                "",
            ));
        } else {
            domains.push(domain);
        }
    }
    Some(domains)
}

/// Brings a host or domain name to lower case, and says so when it is none.
fn lower_name(source: &Source<'_>, key: &str, name: Located<String>) -> Located<String> {
    let label = |label: &str| {
        let letters = label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_');
        (1..=63).contains(&label.len()) && letters && !label.starts_with('-') && !label.ends_with('-')
    };
    if !name.value.split('.').all(label) || name.value.len() > 253 {
        let problem =
            source.error(format!("\"{}\" is not a name for `{key}`", name.value), name.span.clone(), "");
        let advice = match name.value.trim_end_matches('.').rsplit_once('@') {
            Some((_, domain)) => format!("write the domain alone: \"{domain}\""),
            None => "a name is letters, digits and hyphens between dots, such as \"example.org\"".into(),
        };
        source.report(problem.advise(advice));
    }
    Located { value: name.value.to_lowercase(), span: name.span }
}

fn layout(source: &Source<'_>, maildir: &Located<PathBuf>) -> Option<MaildirTemplate> {
    let text = maildir.value.as_os_str().as_encoded_bytes();
    let title = match MaildirTemplate::parse(text) {
        Ok(layout) => return Some(layout),
        Err(TemplateError::NoUser) => {
            "`maildir` has no `{user}`: all accounts would share one mailbox".to_owned()
        }
        Err(TemplateError::UnknownVariable(range)) => {
            let variable = String::from_utf8_lossy(text.get(range).unwrap_or_default()).into_owned();
            format!("`maildir` knows no `{variable}`")
        }
    };
    let problem = source.error(title, maildir.span.clone(), "");
    source.report(problem.advise("the variables are `{user}` and `{domain}`: \"/var/mail/{domain}/{user}\""));
    None
}

/// `[imap] hide`: a client's name (or `*` for all), a colon, and what is hidden from it.
fn imap_masks(source: &Source<'_>, section: &Table<'_, '_>) -> Arc<[Mask]> {
    const EXAMPLE: &str = "hide = [\"iPhone Mail: IMAP4rev2 SORT\"]";
    let mut masks = Vec::new();
    for Located { value, span } in section.strings("hide").unwrap_or_default() {
        let Some((client, names)) = value.rsplit_once(':') else {
            let title = format!("\"{value}\" does not say from which client what is hidden");
            source.report(
                source.error(title, span, "").advise(format!("write `{EXAMPLE}`, `*` for all clients")),
            );
            continue;
        };
        for name in names.split_whitespace() {
            let known = |known: &str| known.eq_ignore_ascii_case(name) && known != "IMAP4rev1";
            if !capability_names().any(known) {
                let problem =
                    source.error(format!("\"{name}\" is nothing that can be hidden"), span.clone(), "");
                let close = did_you_mean(name, capability_names());
                source.report(problem.advise(match close {
                    Some(close) if !close.eq_ignore_ascii_case(name) => format!("did you mean {close}?"),
                    Some(_) | None => {
                        "the names are those of the answer to CAPABILITY; IMAP4rev1 is always there".into()
                    }
                }));
            }
        }
        masks.push(Mask {
            client: Some(client.trim().to_owned()).filter(|client| client != "*"),
            capabilities: names.split_whitespace().map(str::to_owned).collect(),
        });
    }
    masks.into()
}

fn listen(source: &Source<'_>, section: &Table<'_, '_>) -> Listen {
    let mut taken: Vec<(SocketAddr, Service)> = Vec::new();
    Listen(Service::ALL.map(|service| {
        let port = standard_port(service);
        let everywhere = || {
            vec![
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
            ]
        };
        let Some(found) = section.listeners(service.name(), port) else { return (service, everywhere()) };
        for Located { value: address, span } in &found {
            if let Some((other, of)) = taken.iter().find(|(other, _)| overlap(*other, *address)) {
                let title =
                    format!("{address} of `{}` is taken by {other} of `{}`", service.name(), of.name());
                let problem = source.error(title, span.clone(), "");
                source.report(problem.advise("leave one of them out, or give each a port of its own"));
            }
            taken.push((*address, service));
        }
        (service, found.into_iter().map(|address| address.value).collect())
    }))
}

/// Whether two sockets cannot listen on these. Port 0 is another one each time.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip(), other.ip());
    let everywhere = a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified());
    one.port() == other.port() && one.port() != 0 && (a == b || everywhere)
}

/// The delays stay short of [`LoginLimits::wait_max`] and the time a session waits for an answer.
fn login_limits(section: &Table<'_, '_>) -> LoginLimits {
    let default = LoginLimits::default();
    let seconds =
        |key, most, default: Duration| section.integer(key, 0..=most).map_or(default, Duration::from_secs);
    let free = section.integer("free_failures", 1..=1000).and_then(|number| u32::try_from(number).ok());
    LoginLimits {
        free: free.unwrap_or(default.free),
        delay_max: seconds("delay_seconds", 30, default.delay_max),
        account_delay_max: seconds("account_delay_seconds", 10, default.account_delay_max),
        remembered: seconds("remember_seconds", 30 * 86_400, default.remembered),
        ..default
    }
}

fn limits(section: &Table<'_, '_>) -> Limits {
    let default = Limits::default();
    let count = |key, range, default: usize| {
        section.integer(key, range).and_then(|number| usize::try_from(number).ok()).unwrap_or(default)
    };
    let seconds = |key, least, default: Duration| {
        section.integer(key, least..=86_400).map_or(default, Duration::from_secs)
    };
    Limits {
        connections_max: count("connections", 1..=1_000_000, default.connections_max),
        connections_per_address_max: count(
            "connections_per_address",
            1..=1_000_000,
            default.connections_per_address_max,
        ),
        buffers_bytes_max: count("buffers_bytes", 16_777_216..=1 << 40, default.buffers_bytes_max),
        message_bytes_max: section
            .integer("message_bytes", 65_536..=1 << 40)
            .unwrap_or(default.message_bytes_max),
        smtp_recipients_max: count("recipients", 100..=100_000, default.smtp_recipients_max),
        smtp_idle: seconds("smtp_idle_seconds", 10, default.smtp_idle),
        imap_idle: seconds("imap_idle_seconds", 60, default.imap_idle),
        imap_login: seconds("login_seconds", 5, default.imap_login),
        ..default
    }
}

fn log(section: &Table<'_, '_>) -> LogSettings {
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    LogSettings {
        level: section.choice("level", &levels).unwrap_or_default(),
        format: section.choice("format", &formats).unwrap_or_default(),
    }
}
