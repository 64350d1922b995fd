//! Mail leaves for other servers: another postier, and servers that say exactly what a test says.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::harness::{Dice, Server, Site, eventually, good, mail_in, postier, run_with};

/// A site of another domain, with `ann` and `bob`.
fn site_of(domain: &str, sections: &str) -> Site {
    let site = Site::with(sections);
    site.edit("postier.toml", "\"example.test\", \"second.test\"", &format!("\"{domain}\""));
    site.edit("users", "example.test", domain);
    site
}

pub(crate) fn route(domain: &str, port: u16) -> String {
    format!("[routes]\n\"{domain}\" = \"127.0.0.1:{port}\"\n")
}

/// A mail server in a few lines.
pub(crate) struct Sink {
    pub(crate) port: u16,
    mails: Arc<Mutex<Vec<String>>>,
}

/// How it behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Good,
    /// Takes octets over 127.
    EightBit,
    /// Says "later" to each recipient the first time.
    Greylisting,
    NobodyHere,
}

impl Sink {
    pub(crate) fn start(manner: Manner) -> Self {
        Self::at("127.0.0.1:0", manner)
    }

    pub(crate) fn at(address: &str, manner: Manner) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let sink = Sink { port: listener.local_addr().unwrap().port(), mails: Arc::default() };
        let mails = sink.mails.clone();
        thread::spawn(move || {
            let seen: Arc<Mutex<BTreeSet<String>>> = Arc::default();
            for client in listener.incoming() {
                let (client, seen, mails) = (client.unwrap(), seen.clone(), mails.clone());
                thread::spawn(move || serve(&client, manner, &seen, &mails));
            }
        });
        sink
    }

    pub(crate) fn mails(&self) -> Vec<String> {
        self.mails.lock().unwrap().clone()
    }
}

/// One connection, to its end; `None` when it breaks.
fn serve(
    client: &TcpStream,
    manner: Manner,
    seen: &Mutex<BTreeSet<String>>,
    mails: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut out = client;
    let mut say = |reply: &str| out.write_all(format!("{reply}\r\n").as_bytes()).ok();
    let mut lines = BufReader::new(client).lines();
    say("220 sink")?;
    let mut recipients = 0;
    while let Some(Ok(line)) = lines.next() {
        match line.get(..4).unwrap_or_default() {
            "EHLO" if manner == Manner::EightBit => say("250-sink\r\n250 8BITMIME")?,
            "EHLO" => say("250 sink")?,
            "RCPT" if manner == Manner::NobodyHere => say("550 5.1.1 Nobody of that name")?,
            "RCPT" if manner == Manner::Greylisting && seen.lock().unwrap().insert(line.clone()) => {
                say("450 4.2.0 Greylisted")?;
            }
            "RCPT" => {
                recipients += 1;
                say("250 ok")?;
            }
            "DATA" if recipients == 0 => say("554 For nobody?")?,
            "DATA" => {
                say("354 go")?;
                let mut mail = String::new();
                loop {
                    // Without its dot it is none.
                    let line = lines.next()?.ok()?;
                    if line == "." {
                        break;
                    }
                    mail.push_str(&line);
                    mail.push('\n');
                }
                mails.lock().unwrap().push(mail);
                recipients = 0;
                say("250 taken")?;
            }
            "QUIT" => return say("221 bye"),
            _ => say("250 ok")?,
        }
    }
    None
}

const TEXT: &str = "From: ann@example.test\nTo: you@there.test\nSubject: Tea\n\nAt five.\n.dot\n";

fn queue(site: &Site) -> Vec<String> {
    let entries = std::fs::read_dir(site.path("state/queue/mail")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn wait_for_empty_queue(site: &Site) {
    eventually("an empty queue", || queue(site).is_empty().then_some(()));
}

#[test]
fn two_servers_write_to_each_other_inside_tls() {
    let there = site_of("there.test", "[routes]\n");
    let there_server = Server::start(&there);
    let here = Site::with(&route("there.test", there_server.port("smtp")));
    let here_server = Server::start(&here);
    let mut smtp = here_server.submission("ann");
    smtp.deliver("ann@example.test", &["bob@there.test", "bob@example.test"], TEXT);
    assert_eq!(mail_in(&here.maildir("bob")).len(), 1, "ours before the 250");
    let maildir = there.path("mail/there.test/bob");
    eventually("the mail", || {
        maildir.join("new").read_dir().is_ok_and(|mut all| all.next().is_some()).then_some(())
    });
    let mails = mail_in(&maildir);
    let [mail] = mails.as_slice() else { panic!("{mails:?}") };
    let (header, body) = mail.text.split_once("\n\n").unwrap();
    assert_eq!(body, "At five.\n.dot\n");
    assert_eq!(header.matches("Return-Path: ").count(), 1, "{header}");
    assert_eq!(header.matches("Received: ").count(), 2, "{header}");
    assert!(header.contains("ESMTPS"), "{header}");
    wait_for_empty_queue(&here);

    // The answer, when the other side has been told the way.
    there.edit("postier.toml", "[routes]\n", &route("example.test", here_server.port("smtp")));
    there_server.after(|server| server.signal("HUP"), "configuration reloaded");
    let mut smtp = there_server.submission("bob");
    smtp.deliver("bob@there.test", &["ann@example.test"], TEXT);
    here_server.wait_for_log("\"delivered\"");
    eventually("the answer", || (mail_in(&here.maildir("ann")).len() == 1).then_some(()));
    wait_for_empty_queue(&there);
    here_server.stop();
    there_server.stop();
}

#[test]
fn what_is_greylisted_is_tried_again_even_by_the_next_process() {
    let sink = Sink::start(Manner::Greylisting);
    let site = Site::with(&format!("[queue]\nretry_seconds = 3\n{}", route("there.test", sink.port)));
    let server = Server::start(&site);
    server.submission("ann").deliver("ann@example.test", &["bob@there.test"], TEXT);
    server.wait_for_log("\"deferred\"");
    eventually("the note of it", || {
        let envelope = queue(&site).into_iter().find(|name| name.ends_with(".e"))?;
        let text = std::fs::read_to_string(site.path("state/queue/mail").join(envelope)).ok()?;
        text.contains("Greylisted").then_some(())
    });
    server.kill();
    assert!(sink.mails().is_empty());
    let server = Server::start(&site);
    wait_for_empty_queue(&site);
    let mails = sink.mails();
    let [mail] = mails.as_slice() else { panic!("{mails:?}") };
    assert!(mail.starts_with("Received: ") && mail.ends_with("\n\nAt five.\n..dot\n"), "{mail}");
    server.stop();
}

#[test]
fn addresses_that_are_named_may_send_without_logging_in_and_others_may_not() {
    let sink = Sink::start(Manner::Good);
    let try_with = |from: &str| {
        let site = Site::with(&format!("{}[relay]\nfrom = [{from}]\n", route("there.test", sink.port)));
        let server = Server::start(&site);
        let mut smtp = server.exchange();
        smtp.expect("EHLO printer", 250);
        smtp.expect("MAIL FROM:<cron@printer.test>", 250);
        let reply = smtp.say("RCPT TO:<bob@there.test>");
        smtp.expect("RSET", 250);
        if reply.code == 250 {
            smtp.deliver("cron@printer.test", &["bob@there.test"], "Subject: Paper\n\nis out.\n");
            smtp.expect("MAIL FROM:<cron@printer.test>", 250);
            // Nobody may hide where it goes.
            smtp.expect("RCPT TO:<bob%there.test@example.test>", 550);
            wait_for_empty_queue(&site);
        }
        server.stop();
        reply.code
    };
    assert_eq!(try_with("\"192.0.2.0/24\", \"::1\""), 550);
    assert!(sink.mails().is_empty());
    assert_eq!(try_with("\"192.0.2.0/24\", \"127.0.0.1\""), 250);
    assert!(sink.mails()[0].ends_with("Subject: Paper\n\nis out.\n"), "{:?}", sink.mails());
}

#[test]
fn a_sender_is_told_what_could_not_be_delivered() {
    let sink = Sink::start(Manner::NobodyHere);
    let site = Site::with(&route("there.test", sink.port));
    let server = Server::start(&site);
    server.submission("ann").deliver("ann@example.test", &["bob@there.test"], TEXT);
    eventually("the notice", || (mail_in(&site.maildir("ann")).len() == 1).then_some(()));
    let notice = &mail_in(&site.maildir("ann"))[0].text;
    assert!(
        notice.starts_with("Return-Path: <>\nFrom: Mail delivery <MAILER-DAEMON@localhost>\n"),
        "{notice}"
    );
    for words in
        ["says: 550 5.1.1 Nobody of that name", "Final-Recipient: rfc822; bob@there.test", "\nSubject: Tea\n"]
    {
        assert!(notice.contains(words), "{words}: {notice}");
    }
    wait_for_empty_queue(&site);
    let mut imap = server.imap("ann@example.test");
    assert!(imap.ok("SELECT INBOX").contains(&"1 EXISTS".to_owned()));
    server.stop();
}

#[test]
fn aliases_forward_and_port_25_still_relays_for_nobody() {
    let sink = Sink::start(Manner::Good);
    let site = Site::with(&route("there.test", sink.port));
    site.add("aliases", "away: bob@there.test, ann\n");
    let server = Server::start(&site);
    let mut smtp = server.exchange();
    smtp.expect("EHLO localhost", 250);
    smtp.expect("MAIL FROM:<me@far.test>", 250);
    smtp.expect("RCPT TO:<bob@there.test>", 550);
    smtp.expect("RSET", 250);
    smtp.deliver("me@far.test", &["away@example.test"], TEXT);
    assert_eq!(mail_in(&site.maildir("ann")).len(), 1);
    wait_for_empty_queue(&site);
    assert_eq!(sink.mails().len(), 1);
    server.stop();
}

#[test]
fn a_server_that_is_down_is_no_reason_to_lose_mail_and_one_that_is_up_does_not_wait_for_it() {
    let down = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sink = Sink::start(Manner::Good);
    let routes = format!("{}\"up.test\" = \"127.0.0.1:{}\"\n", route("down.test", down), sink.port);
    let site = Site::with(&routes);
    let server = Server::start(&site);
    let mut smtp = server.submission("ann");
    for _ in 0..20 {
        smtp.deliver("ann@example.test", &["bob@down.test", "bob@up.test"], TEXT);
    }
    eventually("all at the one that is up", || (sink.mails().len() == 20).then_some(()));
    server.wait_for_log("No connection to [127.0.0.1]: Connection refused");
    assert_eq!(queue(&site).iter().filter(|name| name.ends_with(".m")).count(), 20);
    // Each has its own story of it, whether it was tried itself or waits because others were.
    for entry in listed(&site) {
        let id = entry["id"].as_str().unwrap();
        let story = eventually("a word about the server that is down", || {
            let mut command = postier();
            let story = good(command.args(["trace", id, "--config"]).arg(site.config()), "");
            story.contains("  deferred  ").then_some(story)
        });
        assert!(
            story.contains("reply=\"451 4.4.1 No connection to [127.0.0.1]: Connection refused"),
            "{story}"
        );
    }
    assert!(mail_in(&site.maildir("ann")).is_empty(), "nobody is told yet");
    server.stop();
}

/// `postier queue …` to a good end.
pub(crate) fn command(site: &Site, args: &[&str]) -> String {
    let mut command = postier();
    command.arg("queue").args(args).arg("--config").arg(site.config());
    good(&mut command, "")
}

fn listed(site: &Site) -> Vec<serde_json::Value> {
    serde_json::from_str(&command(site, &["list", "--json"])).unwrap()
}

#[test]
fn an_operator_looks_holds_releases_hurries_and_removes_with_and_without_a_server() {
    let sink = Sink::start(Manner::Greylisting);
    let site = Site::with(&format!("[queue]\nretry_seconds = 3600\n{}", route("there.test", sink.port)));
    assert_eq!(command(&site, &["list"]), "");
    let server = Server::start(&site);
    let mut smtp = server.submission("ann");
    for name in ["bob", "eve", "joe"] {
        smtp.deliver("ann@example.test", &[&format!("{name}@there.test")], TEXT);
    }
    let ids = eventually("three that were tried", || {
        let all = listed(&site);
        let tried = |name: &str| {
            let to = format!("{name}@there.test");
            let found = all.iter().find(|entry| entry["recipients"][0]["to"] == to)?;
            (found["recipients"][0]["attempts"] == 1).then(|| found["id"].as_str().unwrap().to_owned())
        };
        Some([tried("bob")?, tried("eve")?, tried("joe")?])
    });
    let [bob, eve, joe] = ids.each_ref().map(String::as_str);
    let shown = command(&site, &["show", bob]);
    assert!(shown.contains("bob@there.test: tried once, next "), "{shown}");
    assert!(shown.contains("450 4.2.0 Greylisted\n") && shown.contains("\nSubject: Tea\n"), "{shown}");

    command(&site, &["hold", bob]);
    eventually("it is held", || command(&site, &["list"]).contains(", held").then_some(()));
    command(&site, &["flush"]);
    eventually("the others are sent", || (sink.mails().len() == 2).then_some(()));
    eventually("they are gone", || (listed(&site).len() == 1).then_some(()));
    command(&site, &["release", bob]);
    eventually("it is released", || (listed(&site)[0]["held"] == false).then_some(()));
    server.stop();

    for gone in [eve, joe, "../etc", ""] {
        let mut command = postier();
        command.args(["queue", "remove", gone, "--config"]).arg(site.config());
        assert_eq!(run_with(&mut command, "").status.code(), Some(1), "{gone}");
    }
    command(&site, &["hold", bob]);
    assert_eq!(listed(&site)[0]["held"], true);
    command(&site, &["release", bob]);
    command(&site, &["retry", bob]);
    assert!(command(&site, &["list"]).contains("next now"));
    let server = Server::start(&site);
    eventually("it is sent", || (sink.mails().len() == 3).then_some(()));
    wait_for_empty_queue(&site);
    server.submission("ann").deliver("ann@example.test", &["ann@there.test"], TEXT);
    server.wait_for_log("\"deferred\"");
    server.stop();
    let id = listed(&site)[0]["id"].as_str().unwrap().to_owned();
    let trace = |id: &str| {
        let mut command = postier();
        good(command.args(["trace", id, "--config"]).arg(site.config()), "")
    };
    let story = trace(&id);
    for words in ["  queued  ", "  deferred  ", "\nin the queue:\n", "ann@there.test: tried once"] {
        assert!(story.contains(words), "{words}: {story}");
    }
    let story = trace(bob);
    assert!(story.contains("  sent  ") && story.ends_with("  done\n"), "{story}");
    // What the client left out, the submission has put in.
    assert_eq!(trace(&format!("<{bob}@localhost>")), story);
    command(&site, &["remove", &id]);
    assert!(queue(&site).is_empty());
}

/// Mails are handed in, again and again until the server is cut short; then one may finish. What was acknowledged has come,
/// and no more than one mail of a connection has come again for each time.
pub(crate) fn lose_nothing(
    site: &Site,
    state: &str,
    sink: &Sink,
    rounds: usize,
    mut cut: impl FnMut(usize, Server),
) {
    const CONNECTIONS: usize = 5;
    let mut acknowledged = BTreeSet::new();
    let mut dice = Dice(7);
    for round in 0..rounds {
        let server = Server::start(site);
        let count = 20 + dice.roll(60);
        let mut smtp = server.submission("ann");
        for number in 0..count {
            let subject = format!("Mail {round}-{number}.");
            let text = format!("From: ann@example.test\nSubject: {subject}\n\nText\n");
            smtp.deliver("ann@example.test", &["bob@there.test"], &text);
            acknowledged.insert(subject);
        }
        cut(round, server);
    }
    let server = Server::start(site);
    let mail = site.path(state).join("queue/mail");
    eventually("an empty queue", || mail.read_dir().unwrap().next().is_none().then_some(()));
    server.stop();
    let mails = sink.mails();
    let subjects =
        mails.iter().filter_map(|mail| mail.lines().find_map(|line| line.strip_prefix("Subject: ")));
    let subjects: Vec<&str> = subjects.collect();
    for subject in &acknowledged {
        assert!(subjects.contains(&subject.as_str()), "{subject} is lost");
    }
    let repeated = subjects.len() - acknowledged.len();
    println!("{rounds} cuts, {} mails, {repeated} of them twice", acknowledged.len());
    assert!(repeated <= rounds * CONNECTIONS, "{repeated} of {} came again", acknowledged.len());
}

#[test]
fn kills_lose_nothing_that_was_acknowledged_and_repeat_one_mail_of_a_connection_at_most() {
    let rounds: usize = std::env::var("POSTIER_ROUNDS").map_or(4, |rounds| rounds.parse().unwrap());
    let sink = Sink::start(Manner::Good);
    let site = Site::with(&format!("[queue]\nretry_seconds = 1\n{}", route("there.test", sink.port)));
    lose_nothing(&site, "state", &sink, rounds, |_, server| server.kill());
}
