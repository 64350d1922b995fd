//! Dovecot and postier serve the same Maildir at the same time, to clients of both that change everything, while SMTP
//! and another program deliver: no UID ever names two mails, no mail has two UIDs, nothing acknowledged is lost.
//!
//! `POSTIER_SECONDS=60` does it for longer than the little that every change is proved with.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::harness::{Dovecot, Server, seconds};
use crate::ledger::Ledger;
use crate::load::{Client, Phase, start_clients};

/// As procmail delivers: no lock, no UID.
fn drop_mails(inbox: &Path, ledger: &Ledger, phase: &Phase) {
    let to = [("ann", "INBOX".to_owned())];
    for number in 0.. {
        if phase.over.load(Ordering::SeqCst) {
            return;
        }
        let (subject, name) =
            (format!("dropped-{number}"), format!("{}.{number}.dropper", 1_700_000_000 + number));
        fs::write(inbox.join("tmp").join(&name), format!("Subject: {subject}\n\nend of {subject}\n"))
            .unwrap();
        ledger.comes(&to, &subject);
        fs::rename(inbox.join("tmp").join(&name), inbox.join("new").join(&name)).unwrap();
        ledger.came(&to, &subject, None, &[]);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs dovecot-imapd; takes twenty seconds"]
fn dovecot_and_we_serve_one_maildir_and_nothing_is_lost() {
    let (site, user) = Dovecot::site();
    let server = Server::start(&site);
    let (ledger, phase) = (Ledger::default(), Phase::default());
    // Makes the Maildir.
    server.imap("ann").ok("SELECT INBOX");
    let inbox = site.maildir("ann");
    std::thread::scope(|scope| {
        let mut clients = start_clients(scope, &server, "ours", &ledger, &phase);
        for number in 0..4 {
            let mut dovecot = Dovecot::start(&site, &user);
            // Two Dovecots that make folders at the same time can get in each other's way.
            let mut client = Client::new(format!("theirs-{number}"), &ledger, &phase).without_folders();
            clients.push(scope.spawn(move || match number {
                0 => client.watch(&mut dovecot.imap, 2..4),
                _ => client.change(&mut dovecot.imap),
            }));
        }
        scope.spawn(|| drop_mails(&inbox, &ledger, &phase));
        let end = std::time::Instant::now() + seconds(20);
        while std::time::Instant::now() < end && clients.iter().all(|client| !client.is_finished()) {
            std::thread::sleep(Duration::from_millis(100));
        }
        phase.over.store(true, Ordering::SeqCst);
        // None of the servers has gone away or refused anything.
        clients.into_iter().for_each(|client| client.join().unwrap().unwrap());
    });
    ledger.audit(&mut server.imap("ann"), &mut server.imap("bob"));
    ledger.audit_elsewhere(&mut Dovecot::start(&site, &user).imap);
    println!("{} acknowledged changes", ledger.acknowledged());
}
