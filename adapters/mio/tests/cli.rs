//! The command line against the built binary: what it prints, what it leaves on disk, how it ends.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use assert_cmd::Command;
use postier_core::site::Secret;
use postier_host::config::Config;
use postier_host::identity::Identity;
use postier_host::password::PasswordChecker;

struct World(tempfile::TempDir);

struct Outcome {
    code: i32,
    out: String,
    err: String,
}

impl World {
    /// A site with one domain, one account and a postmaster.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = postier_host::tls::self_signed(&["mail.one.example"]).unwrap();
        let user = Identity::current().unwrap().name;
        let config = format!(
            "hostname = \"mail.one.example\"\ndomains = [\"one.example\", \"two.example\"]\nuser = \"{user}\"\n\
             state = \"state\"\n[tls]\ncertificate = \"crt\"\nkey = \"key\"\n[accounts]\nfile = \"users\"\n[mail]\n\
             maildir = \"mail/{{domain}}/{{user}}\"\n[aliases]\nfile = \"aliases\"\n[listen]\nsmtp = [\"127.0.0.1:2525\"]\n\
             submission = []\n"
        );
        for (name, text) in [
            ("postier.toml", config.as_str()),
            ("crt", &made.certificate),
            ("key", &made.key),
            ("users", "# people\nann@one.example:{PLAIN}secret\n"),
            ("aliases", "postmaster: ann\n"),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        fs::set_permissions(dir.path().join("key"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::create_dir(dir.path().join("state")).unwrap();
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, arguments: &[&str], stdin: &str) -> Outcome {
        let mut command = Command::cargo_bin("postier").unwrap();
        command.args(arguments);
        if matches!(arguments[0], "config" | "user") {
            command.arg("--config").arg(self.path().join("postier.toml"));
        }
        let output = command.write_stdin(stdin).output().unwrap();
        let text =
            |octets| String::from_utf8(octets).unwrap().replace(&self.path().display().to_string(), "$DIR");
        Outcome { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn users(&self) -> String {
        fs::read_to_string(self.path().join("users")).unwrap()
    }

    fn password_is(&self, login: &str, password: &str) -> bool {
        let (config, _) = Config::load(&self.path().join("postier.toml")).unwrap();
        let account = config.site.account_by_login(login.as_bytes()).and_then(|id| config.site.account(id));
        PasswordChecker::new().check(login.as_bytes(), account.map(|account| &**account), password.as_bytes())
    }
}

#[test]
fn usage_mistakes_end_with_2_and_help_with_0() {
    let world = World::new();
    for arguments in [&["nonsense"][..], &["user"], &["user", "add"], &["completions", "tcsh"]] {
        assert_eq!(world.run(arguments, "").code, 2, "{arguments:?}");
    }
    assert_eq!(world.run(&["--version"], "").out, concat!("postier ", env!("CARGO_PKG_VERSION"), "\n"));
    let help = world.run(&["help", "user", "add"], "");
    assert!(help.code == 0 && help.out.contains("Examples:"), "{}", help.out);
    for shell in ["bash", "zsh", "fish"] {
        assert!(world.run(&["completions", shell], "").out.contains("passwd"), "{shell}");
    }
}

#[test]
fn a_good_configuration_is_summed_up() {
    let world = World::new();
    let check = world.run(&["config", "check"], "");
    let user = Identity::current().unwrap().name;
    assert_eq!(
        check.out,
        format!(
            "hostname     mail.one.example\ndomains      one.example, two.example\n\
             certificate  $DIR/crt for mail.one.example, to 2049-12-31\naccounts     1 in $DIR/users\n\
             aliases      1 in $DIR/aliases\nforwards     none\nmail         $DIR/mail/{{domain}}/{{user}}\nstate        $DIR/state\n\
             sendmail     $DIR/state/drop\nuser         {user}\nsending      to each domain's own servers\n\
             signing      nothing; `postier dkim new` makes keys\nsmtp         127.0.0.1:2525\nsubmission   off\n\
             submissions  0.0.0.0:465, [::]:465\n\
             imap         0.0.0.0:143, [::]:143\nimaps        0.0.0.0:993, [::]:993\n"
        )
    );
    // Who is root, and wants the server to be, is told what that means.
    let root = usize::from(user == "root");
    assert_eq!(
        (check.code, check.err.matches("warning: the server keeps all rights of root").count()),
        (0, root)
    );
    assert!(root == 1 || check.err.is_empty(), "{}", check.err);
    let json: serde_json::Value =
        serde_json::from_str(&world.run(&["config", "check", "--json"], "").out).unwrap();
    assert_eq!(json["ok"], true);
    assert_eq!(json["listen"]["smtp"][0], "127.0.0.1:2525");
    assert_eq!(json["problems"].as_array().unwrap().len(), root);
}

#[test]
fn a_bad_configuration_is_explained_and_ends_with_2() {
    let world = World::new();
    fs::write(world.path().join("aliases"), "postmaster: ann\nout: x@elsewhere..example\n").unwrap();
    let check = world.run(&["config", "check"], "");
    assert_eq!((check.code, check.out.as_str()), (2, ""));
    assert_eq!(
        check.err,
        "error: x@elsewhere..example is no address\n --> $DIR/aliases:2:6\n  |\n\
         2 | out: x@elsewhere..example\n  |      ^^^^^^^^^^^^^^^^^^^^\n  |\n  = help: write `user@domain`\n"
    );
    let check = world.run(&["config", "check", "--json"], "");
    let json: serde_json::Value = serde_json::from_str(&check.out).unwrap();
    assert_eq!((check.code, &json["ok"]), (2, &serde_json::Value::Bool(false)));
    let problem = &json["problems"][0];
    assert_eq!(
        (&problem["line"], &problem["column"], &problem["file"]),
        (&2.into(), &6.into(), &"$DIR/aliases".into())
    );
    fs::remove_file(world.path().join("postier.toml")).unwrap();
    let check = world.run(&["config", "check"], "");
    assert_eq!(check.code, 2);
    assert!(check.err.contains("the configuration cannot be read: no such file"), "{}", check.err);
}

#[test]
fn a_state_directory_that_is_none_is_found_before_the_start() {
    let world = World::new();
    fs::remove_dir(world.path().join("state")).unwrap();
    fs::write(world.path().join("state"), "").unwrap();
    let config = world.path().join("postier.toml").display().to_string();
    for arguments in [&["config", "check"][..], &["serve", "--config", &config]] {
        let outcome = world.run(arguments, "");
        assert_eq!((outcome.code, outcome.out.as_str()), (2, ""), "{arguments:?}");
        assert!(outcome.err.contains("the state directory is no directory: $DIR/state"), "{}", outcome.err);
    }
}

#[test]
fn accounts_come_change_and_go() {
    let world = World::new();
    let added = world.run(&["user", "add", "Bob", "--stdin"], "open sesame\r\nrest");
    assert_eq!(
        (added.code, added.out.as_str(), added.err.as_str()),
        (0, "added bob@one.example\n", "no server is running\n")
    );
    assert!(
        world
            .users()
            .starts_with("# people\nann@one.example:{PLAIN}secret\nbob@one.example:{ARGON2ID}$argon2id$")
    );
    assert!(world.users().contains("::::::postier_scram={SCRAM-SHA-256}"));
    assert!(world.password_is("bob", "open sesame") && !world.password_is("bob", "open sesame\r"));

    let again = world.run(&["user", "add", "BOB@one.example", "--generate"], "");
    assert_eq!(again.code, 1);
    assert!(again.err.contains("`postier user passwd bob@one.example`"), "{}", again.err);

    let changed = world.run(&["user", "passwd", "bob", "--generate", "--no-scram"], "");
    let password = changed.out.lines().find_map(|line| line.strip_prefix("password: ")).unwrap();
    assert!(world.password_is("bob@one.example", password) && !world.password_is("bob", "open sesame"));
    assert!(!world.users().contains("postier_scram"));

    let list = world.run(&["user", "list"], "");
    assert_eq!(list.out, "ann@one.example  PLAIN\nbob@one.example  ARGON2ID\n");
    let json: serde_json::Value =
        serde_json::from_str(&world.run(&["user", "list", "--json"], "").out).unwrap();
    assert_eq!(json[1]["maildir"], "$DIR/mail/one.example/bob");

    let removed = world.run(&["user", "remove", "bob"], "");
    assert_eq!(removed.out, "removed bob@one.example; its mail stays in $DIR/mail/one.example/bob\n");
    assert_eq!(world.users(), "# people\nann@one.example:{PLAIN}secret\n");
}

#[test]
fn a_domain_is_the_same_in_both_forms() {
    let world = World::new();
    let config = fs::read_to_string(world.path().join("postier.toml")).unwrap();
    fs::write(world.path().join("postier.toml"), config.replace("two.example", "bücher.example")).unwrap();
    let added = world.run(&["user", "add", "bob@XN--BCHER-KVA.example", "--stdin"], "open sesame");
    assert_eq!(added.out, "added bob@bücher.example\n");
    assert!(world.password_is("bob@xn--bcher-kva.example", "open sesame"));
    let users = world.users().replace("bücher", "xn--bcher-kva");
    fs::write(world.path().join("users"), users).unwrap();
    let again = world.run(&["user", "add", "bob@bücher.example", "--generate"], "");
    assert!(again.code == 1 && again.err.contains("is there already"), "{}", again.err);
    let list = world.run(&["user", "list", "--json"], "");
    assert!(list.out.contains("$DIR/mail/bücher.example/bob"), "{}", list.out);
    assert!(world.password_is("bob@BÜCHER.example", "open sesame"));
}

#[test]
fn the_last_reader_of_postmaster_is_not_removed_by_accident() {
    let world = World::new();
    let refused = world.run(&["user", "remove", "ann"], "");
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("nobody reads the mail for postmaster"), "{}", refused.err);
    assert!(world.users().contains("ann@"));
    assert_eq!(world.run(&["user", "remove", "ann", "--force"], "").code, 0);
    assert_eq!(world.users(), "# people\n");
    assert_eq!(world.run(&["user", "list", "--json"], "").out, "[]\n");
}

#[test]
fn names_that_cannot_be_are_refused_with_a_hint() {
    let world = World::new();
    for (arguments, code, hint) in [
        (&["user", "add", "bob@on.example", "--stdin"][..], 2, "did you mean one.example?"),
        (&["user", "add", "bob@elsewhere.example", "--stdin"], 2, "are one.example, two.example"),
        (&["user", "add", "b/b", "--stdin"], 2, "may not hold '/'"),
        (&["user", "add", "bob", "--stdin"], 2, "1 to 1024 octets"),
        (&["user", "add", "bob"], 2, "`--stdin` or `--generate`"),
        (&["user", "passwd", "amn", "--stdin"], 2, "1 to 1024 octets"),
        (&["user", "passwd", "amn", "--generate"], 1, "did you mean ann@one.example?"),
        (&["user", "remove", "zoe@two.example"], 1, "`postier user list`"),
    ] {
        let outcome = world.run(arguments, "");
        assert_eq!(outcome.code, code, "{arguments:?}: {}", outcome.err);
        assert!(outcome.err.contains(hint), "{arguments:?}: {}", outcome.err);
    }
    assert_eq!(world.users(), "# people\nann@one.example:{PLAIN}secret\n");
}

#[test]
fn the_first_account_can_be_added_before_the_users_file_exists() {
    let world = World::new();
    fs::remove_file(world.path().join("users")).unwrap();
    assert_eq!(world.run(&["user", "list"], "").out, "");
    assert_eq!(world.run(&["user", "add", "ann", "--stdin"], "pw").code, 0);
    let mode = fs::metadata(world.path().join("users")).unwrap().permissions().mode();
    assert_eq!(mode & 0o027, 0, "{mode:o}");
    assert!(world.password_is("ann", "pw"));
}

#[test]
fn the_running_server_is_told() {
    let world = World::new();
    let listener = UnixListener::bind(world.path().join("state/control.sock")).unwrap();
    let server = std::thread::spawn(move || {
        for answer in ["ok\n", "error error: broken\n --> users:9\n  |\n  = help: mend it\n"] {
            let (socket, _) = listener.accept().unwrap();
            BufReader::new(&socket).read_line(&mut String::new()).unwrap();
            (&socket).write_all(answer.as_bytes()).unwrap();
        }
    });
    assert_eq!(world.run(&["user", "add", "bob", "--generate"], "").err, "the running server knows it\n");
    let refused = world.run(&["user", "remove", "bob"], "");
    assert_eq!(refused.code, 0);
    // Line by line, from its beginning: a caret points at what is above it.
    assert_eq!(
        refused.err,
        "warning: the running server keeps its old accounts:\nerror: broken\n --> users:9\n  |\n  = help: mend it\n"
    );
    server.join().unwrap();
}

#[test]
fn a_secret_never_shows_itself() {
    assert!(!format!("{:?}", Secret::new("{PLAIN}secret")).contains("secret"));
    let world = World::new();
    for arguments in [&["config", "check"][..], &["user", "list"], &["user", "list", "--json"]] {
        let outcome = world.run(arguments, "");
        assert!(!(outcome.out + &outcome.err).contains("secret"), "{arguments:?}");
    }
}
