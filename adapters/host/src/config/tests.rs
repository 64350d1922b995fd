//! Messages as a person sees them: each file in `golden/` is a small world and the report it gets.
//!
//! A line `== NAME` begins a file of that world, `== report` what is expected. Worlds that say nothing about a file get a
//! good one; `mail.crt` and `mail.key` are for mail.one.example. `$USER` is who runs the test, `$DIR` where the world is.
//! `UPDATE_GOLDEN=1` rewrites the reports.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::tls::self_signed;

const GOOD: &str = r#"hostname = "mail.one.example"
domains = ["One.example", "two.example"]
user = "$USER"
[tls]
certificate = "mail.crt"
key = "mail.key"
[accounts]
file = "users"
[mail]
maildir = "mail/{domain}/{user}"
[aliases]
file = "aliases"
"#;

/// Makes the world in a new directory.
fn world(files: &BTreeMap<String, String>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let user = Identity::current().unwrap().name;
    let mail = self_signed(&["mail.one.example"]).unwrap();
    let other = self_signed(&["mail.two.example", "www.two.example"]).unwrap();
    let mut all: BTreeMap<String, String> = BTreeMap::from([
        ("postier.toml".into(), GOOD.into()),
        ("users".into(), "ann@one.example:{PLAIN}x\n".into()),
        ("aliases".into(), "postmaster: ann\n".into()),
        ("mail.crt".into(), mail.certificate),
        ("mail.key".into(), mail.key),
        ("other.crt".into(), other.certificate),
        ("other.key".into(), other.key),
    ]);
    all.extend(files.clone());
    for (name, text) in all {
        let path = dir.path().join(name);
        fs::write(&path, text.replace("$USER", &user)).unwrap();
        let mode = if path.extension().is_some_and(|end| end == "key") { 0o600 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::write(dir.path().join("open.key"), fs::read(dir.path().join("mail.key")).unwrap()).unwrap();
    fs::set_permissions(dir.path().join("open.key"), fs::Permissions::from_mode(0o644)).unwrap();
    dir
}

fn load(dir: &Path) -> Result<(Config, Vec<Warning>), Errors> {
    Config::load(&dir.join("postier.toml"))
}

fn report(dir: &Path) -> String {
    let (outcome, problems) = match load(dir) {
        Ok((_, warnings)) => ("accepted", warnings),
        Err(errors) => ("refused", errors.problems),
    };
    let user = format!("\"{}\"", Identity::current().unwrap().name);
    let text = Errors { problems }.render(false);
    let text = text.replace(&dir.display().to_string(), "$DIR").replace(&user, "\"$USER\"");
    if text.is_empty() { format!("{outcome}\n") } else { format!("{outcome}\n{text}\n") }
}

#[test]
fn golden_reports() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/golden");
    let mut paths: Vec<PathBuf> = fs::read_dir(&golden).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    let mut failed = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        let mut name = None;
        for line in text.split_inclusive('\n') {
            match line.strip_prefix("== ") {
                Some(next) => _ = files.entry(name.insert(next.trim().to_owned()).clone()).or_default(),
                None => *files.get_mut(name.as_ref().expect("a file begins with ==")).unwrap() += line,
            }
        }
        let expected = files.remove("report").unwrap_or_default();
        let dir = world(&files);
        let found = report(dir.path());
        if found == expected {
            continue;
        }
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let before = text.split("== report\n").next().unwrap();
            fs::write(&path, format!("{before}== report\n{found}")).unwrap();
        }
        failed.push(format!("{}:\n--- expected\n{expected}--- found\n{found}", path.display()));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_mistake_hides_the_state_directory_only_where_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("postier.toml");
    let own = dir.path().join("own");
    for (text, state) in [
        ("state = \"own\"\nhostname = ", Some(own.as_path())),
        ("hostname = \"x\ndomains = [\"a\", \n\n'state' = \"own\"\n[tls", None),
        ("what = 1\nstate = \"own\"\n", Some(&own)),
        ("state = own\n", Some(&own)),
        ("state = 7\n", None),
        ("[tls\n", Some(Path::new(STATE))),
        ("", Some(Path::new(STATE))),
    ] {
        fs::write(&file, text).unwrap();
        assert!(Settings::read(&file, &DirectFiles).is_err(), "{text}");
        assert_eq!(Settings::state_of_broken(&file, &DirectFiles).as_deref(), state, "{text}");
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(Settings::state_of_broken(&file, &DirectFiles), None);
}

#[test]
fn everything_has_a_default_but_what_nobody_can_guess() {
    let dir = world(&BTreeMap::new());
    let (config, warnings) = load(dir.path()).unwrap();
    assert_eq!(warnings, []);
    let settings = &config.settings;
    assert_eq!(settings.first_domain(), "one.example");
    assert_eq!(settings.state, Path::new("/var/lib/postier"));
    assert_eq!(settings.limits, postier_core::limits::Limits::default());
    assert_eq!(settings.log, LogSettings { level: LogLevel::Info, format: LogFormat::Text });
    let mut listen = String::new();
    for (service, addresses) in settings.listen.iter() {
        writeln!(listen, "{} {addresses:?}", service.name()).unwrap();
    }
    assert_eq!(
        listen,
        "smtp [0.0.0.0:25, [::]:25]\nsubmission [0.0.0.0:587, [::]:587]\nsubmissions [0.0.0.0:465, [::]:465]\n\
         imap [0.0.0.0:143, [::]:143]\nimaps [0.0.0.0:993, [::]:993]\n"
    );
    let ann = config.site.account_by_login(b"ann").and_then(|id| config.site.account(id)).unwrap();
    assert_eq!(ann.maildir, dir.path().join("mail/one.example/ann").as_os_str().as_encoded_bytes());
    assert_eq!(settings.files().len(), 5);
}

#[test]
fn every_key_is_read() {
    let text = GOOD.replace("user = \"$USER\"", "user = \"root\"\nstate = \"state\"")
        + r#"[login]
without_tls = "loopback"
delay_seconds = 5
[listen]
smtp = ["127.0.0.1:2525", "::1", "[::2]", "[::1]:0"]
imap = []
[limits]
connections = 10
connections_per_address = 0x10
buffers_bytes = 20_000_000
message_bytes = 1_000_000
recipients = 200
smtp_idle_seconds = 301
imap_idle_seconds = 1801
login_seconds = 61
event_loops = 3
[inbound]
bare_newline = "refuse"
[imap]
hide = ["iPhone Mail: IMAP4rev2 SORT", "*: esort"]
[log]
level = "debug"
format = "json"
"#;
    let settings = Settings::parse(Path::new("/etc/postier/postier.toml"), &text).unwrap();
    assert_eq!(settings.state, Path::new("/etc/postier/state"));
    assert_eq!(settings.user.value, "root");
    let smtp = settings.listen.addresses(postier_core::server::Service::Smtp);
    assert_eq!(format!("{smtp:?}"), "[127.0.0.1:2525, [::1]:25, [::2]:25, [::1]:0]");
    assert_eq!(settings.listen.addresses(postier_core::server::Service::Imap), []);
    let limits = settings.limits;
    assert_eq!((limits.connections_max, limits.connections_per_address_max), (10, 16));
    assert_eq!((limits.buffers_bytes_max, settings.event_loops), (20_000_000, Some(3)));
    assert_eq!((limits.message_bytes_max, limits.smtp_recipients_max), (1_000_000, 200));
    assert_eq!(
        (limits.smtp_idle.as_secs(), limits.imap_idle.as_secs(), limits.imap_login.as_secs()),
        (301, 1801, 61)
    );
    assert_eq!(settings.limits.login.delay_max, std::time::Duration::from_secs(5));
    assert_eq!(settings.login_without_tls, postier_core::site::LoginWithoutTls::Loopback);
    assert_eq!(settings.bare_newline, postier_core::site::BareNewline::Refuse);
    assert_eq!(settings.log, LogSettings { level: LogLevel::Debug, format: LogFormat::Json });
    let masks: Vec<_> = settings
        .imap_masks
        .iter()
        .map(|mask| (mask.client.as_deref(), mask.capabilities.join(" ")))
        .collect();
    assert_eq!(masks, [(Some("iPhone Mail"), "IMAP4rev2 SORT".into()), (None, "esort".into())]);
}

#[test]
fn what_domains_say_by_https_counts_unless_it_is_turned_off() {
    let counts = |more: &str| {
        let settings = Settings::parse(Path::new("postier.toml"), &(GOOD.to_owned() + more)).unwrap();
        settings.send.sending.unwrap().mta_sts
    };
    assert!(counts("") && counts("[queue]\nmta_sts = true\n") && !counts("[queue]\nmta_sts = false\n"));
}

#[test]
fn no_report_holds_a_secret() {
    let users = "ann@one.example:{PLAIN}hunter2:x:y\nann@one.example:{PLAIN}hunter2\nhunter2\n\
                 a@elsewhere.example:{PLAIN}hunter2\nb@one.example:{CRAM-MD5}hunter2\nc@one.example:hunter2\n";
    let dir = world(&BTreeMap::from([("users".to_owned(), users.to_owned())]));
    let report = report(dir.path());
    assert!(report.starts_with("refused") && !report.contains("hunter2"), "{report}");
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_without_panic(
        text in "(hostname|domains|user|\\[tls\\]|\\[listen\\]|smtp|\\[log\\]|level|key|[ =\"\\[\\]{},.a\n\t0-9é'#_-]){0,40}"
    ) {
        if let Err(errors) = Settings::parse(Path::new("postier.toml"), &text) {
            proptest::prop_assert!(!errors.problems.is_empty());
            errors.render(true);
        }
    }
}

#[test]
fn the_readme_lists_the_defaults() {
    let readme = include_str!("../../../../README.md");
    let list =
        readme.split_once("these are the defaults:\n\n```toml\n").unwrap().1.split_once("```").unwrap().0;
    let (root, sections) = list.split_at(list.find('[').unwrap());
    let root: String =
        root.lines().filter(|line| !line.starts_with("user")).map(|line| format!("{line}\n")).collect();
    let listed = GOOD.replacen("[tls]", &format!("{root}[tls]"), 1) + sections;
    let shown = |config: String| {
        let world = world(&BTreeMap::from([("postier.toml".into(), config)]));
        let settings = load(world.path()).unwrap_or_else(|errors| panic!("{errors}")).0.settings;
        let Settings { state, login_without_tls, bare_newline, limits, listen, log, .. } = settings;
        format!("{state:?} {login_without_tls:?} {bare_newline:?} {limits:?} {listen:?} {log:?}")
    };
    assert_eq!(shown(listed), shown(GOOD.into()));
}
