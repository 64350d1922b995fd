//! Programs on this machine send: as cron, PHP, mutt and s-nail do, with a running server and without one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::harness::{Server, Site, client, eventually, good, in_own_mounts, mail_in, postier, run_with};
use crate::sending::{Manner, Sink, route};

/// The program, as whoever runs the tests.
fn sendmail(site: &Site, words: &[&str]) -> Command {
    let mut command = postier();
    command.arg("sendmail").arg("-C").arg(site.config()).args(words);
    command
}

/// A user of this machine, who is neither root nor the server's.
const USER: &str = "1";

/// A site that every user can reach, served by `nobody`, with the program as `sendmail` in `bin`.
fn open_site() -> Site {
    let site = Site::new();
    site.add("aliases", "root: ann\n");
    fs::create_dir(site.path("bin")).unwrap();
    fs::copy(assert_cmd::cargo::cargo_bin("postier"), site.path("bin/sendmail")).unwrap();
    symlink("sendmail", site.path("bin/mailq")).unwrap();
    site.give_to("nobody");
    for (name, mode) in [("", 0o711), ("bin", 0o755), ("bin/sendmail", 0o755), ("postier.toml", 0o644)] {
        fs::set_permissions(site.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    site
}

/// A program of another user.
fn as_user(site: &Site, program: &str) -> Command {
    let mut command = client(site, "setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups", program]).current_dir("/");
    command
}

fn program(site: &Site) -> String {
    format!("{} -C {}", site.path("bin/sendmail").display(), site.config().display())
}

/// The mails of a user, once there are so many.
fn mails(site: &Site, user: &str, count: usize) -> Vec<String> {
    eventually("the mails", || {
        let found = mail_in(&site.maildir(user));
        (found.len() >= count).then(|| found.into_iter().map(|mail| mail.text).collect())
    })
}

/// The mails of a user, once there is one with this in it: that one.
fn mail_with(site: &Site, user: &str, mark: &str) -> String {
    eventually(mark, || {
        mail_in(&site.maildir(user)).into_iter().map(|mail| mail.text).find(|text| text.contains(mark))
    })
}

/// Waits until the log has said it so many times: a mail is there before the log says so.
fn logged(server: &Server, mark: &str, times: usize) {
    eventually(mark, || (server.log().matches(mark).count() == times).then_some(()));
}

#[test]
#[ignore = "needs root, mutt and s-nail"]
fn cron_php_mutt_and_s_nail_send() {
    if !in_own_mounts("sendmail::cron_php_mutt_and_s_nail_send") {
        return;
    }
    let site = open_site();
    let server = Server::start(&site);
    let sendmail = site.path("bin/sendmail").display().to_string();
    let config = site.config().display().to_string();

    // cron
    let mut cron = as_user(&site, &sendmail);
    cron.args(["-C", &config, "-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"]);
    let text = "From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@host> date\n\none\n.\ntwo\n";
    good(&mut cron, text);
    let mail = mail_with(&site, "ann", "Cron <root@host>");
    assert!(mail.contains("\nFrom: root@example.test (Cron Daemon)\nTo: root@example.test\n"), "{mail}");
    assert!(mail.contains("(from userid 1)") && mail.ends_with("\n\none\n.\ntwo\n"), "{mail}");

    // PHP: mail() with its default `sendmail -t -i`.
    let mut php = as_user(&site, "sh");
    php.args(["-c", &format!("{} -t -i -fwww@example.test", program(&site))]);
    good(&mut php, "To: bob@example.test\r\nSubject: order 7\r\nBcc: ann@example.test\r\n\r\nThank you.\r\n");
    for user in ["ann", "bob"] {
        let mail = mail_with(&site, user, "order 7");
        assert!(mail.starts_with("Return-Path: <www@example.test>\n"), "{mail}");
        assert!(
            !mail.contains("Bcc") && !mail.contains('\r') && mail.ends_with("\n\nThank you.\n"),
            "{mail}"
        );
    }

    // mutt and s-nail
    let muttrc =
        format!("set sendmail=\"{} -oem -oi\"\nset from=ann@example.test\nset copy=no\n", program(&site));
    site.write("muttrc", &muttrc);
    let mut mutt = as_user(&site, "mutt");
    let rc = site.path("muttrc").display().to_string();
    mutt.args(["-F", &rc, "-s", "from mutt", "--", "bob@example.test"]);
    good(&mut mutt, "Hello.\n");
    assert!(mail_with(&site, "bob", "Subject: from mutt").contains("ann@example.test>\n"));
    let mut nail = as_user(&site, "s-nail");
    nail.args(["-:/", "-S", &format!("mta={sendmail}"), "-S", &format!("mta-arguments=-C {config}")]);
    nail.args(["-s", "from s-nail", "bob@example.test"]);
    good(&mut nail, "Hello.\n");
    assert!(mail_with(&site, "bob", "Subject: from s-nail").contains("(from userid 1)"));

    // Who it was is in the log, and the journal tells the story.
    logged(&server, "taken from a program", 4);
    assert!(server.log().contains("\"service\":\"sendmail\",\"user\":1,"));
    let id = server.log().lines().find(|line| line.contains("taken from")).map(str::to_owned).unwrap();
    let id: serde_json::Value = serde_json::from_str(&id).unwrap();
    let mut trace = postier();
    trace.args(["trace", id["id"].as_str().unwrap(), "--config", &config]);
    let story = good(&mut trace, "");
    assert!(story.contains("taken from a program") && story.contains("  delivered"), "{story}");

    // The queue is not for everybody to see, and nothing else in the state directory is.
    let mut mailq = as_user(&site, &site.path("bin/mailq").display().to_string());
    assert_eq!(run_with(mailq.args(["-C", &config]), "").status.code(), Some(69));
    let mut mailq = Command::new(site.path("bin/mailq"));
    good(mailq.args(["-C", &config]), "");
    for entry in fs::read_dir(site.path("state")).unwrap() {
        let (entry, mode) = entry.map(|entry| (entry.file_name(), entry.metadata().unwrap().mode())).unwrap();
        let wanted = if entry == "drop" { 0o001 } else { 0 };
        assert_eq!(mode & 0o007, wanted, "{entry:?}");
    }
    server.stop();
}

#[test]
fn what_is_handed_in_while_no_server_runs_is_taken_by_the_next() {
    let site = Site::new();
    let output = run_with(&mut sendmail(&site, &["ann"]), "hello\n");
    assert_eq!(output.status.code(), Some(75), "no server has made the place yet");
    Server::start(&site).stop();
    good(&mut sendmail(&site, &["ann", "bob@example.test"]), "Subject: while away\n\nhello\n.\nnot this\n");
    assert!(mail_in(&site.maildir("ann")).is_empty());
    let server = Server::start(&site);
    for user in ["ann", "bob"] {
        let mails = mails(&site, user, 1);
        assert!(
            mails[0].contains("\nSubject: while away\n") && mails[0].ends_with("\n\nhello\n"),
            "{mails:?}"
        );
    }
    // And with the server there.
    good(&mut sendmail(&site, &["-t", "-i"]), "To: ann\nSubject: at home\n\nhello\n");
    assert!(mail_with(&site, "ann", "Subject: at home").contains("\nTo: ann@example.test\n"));
    // What cannot be delivered comes back; where nobody is who sent it, to the postmaster.
    good(&mut sendmail(&site, &["-f", "bob", "nobody-here"]), "Subject: lost\n\nhello\n");
    assert!(mail_with(&site, "bob", "550 5.1.1").contains("Subject: lost"));
    server.stop();
}

#[test]
fn wrong_calls_end_with_the_codes_that_programs_know() {
    let site = Site::new();
    Server::start(&site).stop();
    for (words, input, code) in [
        (&["-t"][..], "Subject: to nobody\n\nhello\n", 65),
        (&[], "", 64),
        (&["-bs"], "", 64),
        (&["--what"], "", 64),
        (&["()"], "", 67),
        (&["-bp"], "", 0),
        (&["-bi"], "", 0),
        (&["--help"], "", 0),
    ] {
        let output = run_with(&mut sendmail(&site, words), input);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
    }
    let mut wrong = postier();
    wrong.args(["sendmail", "-C"]).arg(site.path("none.toml")).arg("ann");
    assert_eq!(run_with(&mut wrong, "").status.code(), Some(78));
    assert!(fs::read_dir(site.path("state/drop/tmp")).unwrap().next().is_none(), "nothing is left behind");
    assert!(fs::read_dir(site.path("state/drop/new")).unwrap().next().is_none());
}

#[test]
fn a_mistake_in_the_configuration_loses_no_mail() {
    let site = Site::new();
    Server::start(&site).stop();
    let config = site.path("postier.toml");
    let before = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{before}\n[nonsense\n")).unwrap();
    let output = run_with(&mut sendmail(&site, &["ann"]), "Subject: kept\n\nhello\n");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let word = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(word.contains("has mistakes") && word.contains("drop"), "{word}");
    // Where it is not to be seen whose mail it is, who calls may keep it.
    fs::write(&config, before.replace("state = ", "state = 7 #")).unwrap();
    let output = run_with(&mut sendmail(&site, &["ann"]), "Subject: not kept\n\nhello\n");
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    fs::write(&config, before).unwrap();
    let server = Server::start(&site);
    let [mail] = &mails(&site, "ann", 1)[..] else { panic!() };
    assert!(mail.contains("\nSubject: kept\n"), "{mail}");
    server.stop();
}

/// How often each number is in these mails.
fn numbers(mails: &[String]) -> BTreeMap<u32, u32> {
    let mut seen = BTreeMap::new();
    for mail in mails {
        let number = mail.lines().find_map(|line| line.trim_end().strip_prefix("Subject: number ")).unwrap();
        *seen.entry(number.parse().unwrap()).or_default() += 1;
    }
    seen
}

#[test]
fn a_server_that_is_killed_again_and_again_loses_none_and_delivers_none_twice() {
    const MAILS: u32 = 40;
    let sink = Sink::start(Manner::Good);
    let site = Site::with(&route("there.test", sink.port));
    Server::start(&site).stop();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..MAILS {
                let text = format!("Subject: number {number}\n\nhello\n");
                good(&mut sendmail(&site, &["ann", "bob", "eve@there.test"]), &text);
            }
            over.store(true, Ordering::Relaxed);
        });
        let mut before = 0;
        while !over.load(Ordering::Relaxed) {
            let server = Server::start(&site);
            // In the middle of it, wherever that is.
            eventually("some more mails", || {
                let found = mail_in(&site.maildir("bob")).len();
                (found > before || over.load(Ordering::Relaxed)).then(|| before = found)
            });
            server.kill();
        }
    });
    let server = Server::start(&site);
    let expected: BTreeMap<u32, u32> = (0..MAILS).map(|number| (number, 1)).collect();
    let drop = site.path("state/drop/new");
    eventually("all drops are taken", || fs::read_dir(&drop).unwrap().next().is_none().then_some(()));
    for user in ["ann", "bob"] {
        assert_eq!(numbers(&mails(&site, user, MAILS as usize)), expected, "{user}");
    }
    // What leaves may leave twice if the server dies between the other's last word and its note of it.
    eventually("all that leaves", || (numbers(&sink.mails()).len() == MAILS as usize).then_some(()));
    server.stop();
}

#[test]
#[ignore = "needs root"]
fn what_a_hostile_user_leaves_is_set_aside() {
    if !in_own_mounts("sendmail::what_a_hostile_user_leaves_is_set_aside") {
        return;
    }
    let site = open_site();
    site.write("secret", "Subject: secret\n\nroot's\n");
    fs::set_permissions(site.path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let server = Server::start(&site);
    let drop = site.path("state/drop");
    let new = drop.join("new");
    let name = |letter: &str| new.join(letter.repeat(26)).display().to_string();
    let run = |script: String| {
        let mut shell = as_user(&site, "sh");
        good(shell.args(["-ec", &script]), "");
    };
    // Nobody sees what others have handed in.
    let mut list = as_user(&site, "ls");
    assert!(!run_with(list.arg(&new), "").status.success());

    let envelope = "postier-drop 1\\nuser daemon\\nto ann\\nend\\nSubject: %s\\n\\nhello\\n";
    let tmp = drop.join("tmp").display().to_string();
    server.after(
        |_| {
            run(format!("ln -s {} {}", site.path("secret").display(), name("a")));
            run(format!("mkfifo {}", name("b")));
            run(format!(
                "printf '{envelope}' linked > {tmp}/x; ln {tmp}/x {tmp}/y; mv {tmp}/x {}",
                name("c")
            ));
            run(format!("umask 077; printf '{envelope}' closed > {tmp}/z; mv {tmp}/z {}", name("d")));
            run(format!("echo rubbish > {tmp}/r; mv {tmp}/r {}", name("e")));
            run(format!("mkdir {}", name("f")));
            run(format!(
                "printf '{envelope}' huge > {tmp}/h; truncate -s 3G {tmp}/h; mv {tmp}/h {}",
                name("g")
            ));
        },
        "\"sender told\"",
    );
    let left = |part: &str| -> Vec<PathBuf> {
        fs::read_dir(drop.join(part)).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    eventually("all is set aside", || (left("cur").len() == 5 && left("new").len() == 1).then_some(()));
    logged(&server, "no mail of a program, set aside", 5);
    // Who sent the huge one is nobody who has mail here.
    let notice = mail_with(&site, "ann", "552 5.3.4");
    assert!(notice.contains("To: <postmaster@example.test>") && notice.contains("Subject: huge"), "{notice}");
    assert!(!mails(&site, "ann", 1).iter().any(|mail| mail.contains("root's")));
    run(format!("echo good | {} ann", program(&site)));
    mail_with(&site, "ann", "\n\ngood\n");
    assert_eq!(mail_in(&site.maildir("ann")).len(), 2);
    server.stop();
}
