//! Drops are taken: an office and a disk; the outside is not there, so what is queued stays queued.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::disk::Errno;
use crate::dns::resolver;
use crate::event::Event;
use crate::maildir::context::Root;
use crate::maildir::memdisk::{MemDisk, context};
use crate::pickup::{Drop, name_of};
use crate::queue::envelope::Envelope;
use crate::queue::spool::recover;
use crate::server::office::outbound::Setup;
use crate::server::office::{Ended, Office, OfficeAction, OfficeInput};
use crate::site::{Account, Aliases, Quota, Secret, Sending, Site, SiteParts};

struct World {
    disk: MemDisk,
    site: Arc<Site>,
    office: Office,
    events: Vec<Event>,
}

fn site(change: impl FnOnce(&mut Site)) -> Arc<Site> {
    let account = |name: &str, maildir: &[u8]| {
        Account::new(name.as_bytes(), b"us.test", maildir.to_vec(), Secret::new("{PLAIN}x")).unwrap()
    };
    let full = Account { quota: Some(Quota { bytes: Some(1), messages: None }), ..account("full", b"/full") };
    let (aliases, _) = Aliases::parse(b"postmaster: ann\nroot: ann, bob@b.test\n");
    let parts = SiteParts {
        accounts: [account("ann", b"/ann"), account("joe", b"/joe"), full].into(),
        aliases,
        sending: Some(Arc::new(Sending::default())),
        ..SiteParts::new("mx.us.test", ["us.test"])
    };
    let mut site = Site::build(parts).unwrap().0;
    change(&mut site);
    Arc::new(site)
}

fn office(disk: &mut MemDisk, site: &Arc<Site>) -> Office {
    let recovered = disk.run(Vec::new(), |disk| recover(disk, Root::new(b"/q"))).unwrap().unwrap();
    assert!(recovered.damaged.is_empty());
    let mut office = Office::new(Arc::new(context()));
    let (dns, site) = (resolver::Config::default(), site.clone());
    let policies = Root::new(b"/policies");
    let setup =
        Setup { site, spool: Root::new(b"/q"), recovered, policies, kept: Vec::new(), dns, seed: [7; 32] };
    office.send_mail(disk.now(), setup);
    office.pick_up(disk.now(), Root::new(b"/drop"));
    office
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Site)) -> Self {
        let mut disk = MemDisk::empty();
        for (root, parts) in [
            ("/q", &["tmp", "mail"][..]),
            ("/drop", &["tmp", "new", "cur"]),
            ("/ann", &["tmp", "new", "cur"]),
            ("/joe", &["tmp", "new", "cur"]),
            ("/full", &["tmp", "new", "cur"]),
        ] {
            disk.make_root(root.as_bytes());
            parts.iter().for_each(|part| disk.put_dir(&format!("{root}/{part}")));
        }
        disk.settle();
        let site = site(change);
        World { office: office(&mut disk, &site), disk, site, events: Vec::new() }
    }

    /// What a program hands in; its name.
    fn drop(&mut self, drop: &Drop, message: &str) -> String {
        let name = name_of([self.disk.names("/drop/new").len() as u8 + 1; 16]);
        let file = [drop.to_file(), message.as_bytes().to_vec()].concat();
        self.disk.put_file(&format!("/drop/new/{name}"), &file);
        self.disk.settle();
        name
    }

    /// All that there is to do now; false: the power has gone.
    fn run(&mut self) -> bool {
        let mut inputs = VecDeque::from([OfficeInput::Timeout]);
        while let Some(input) = inputs.pop_front() {
            let mut out = Vec::new();
            self.office.handle(self.disk.now(), input, &mut out);
            for action in out {
                match action {
                    OfficeAction::Run(job, mut task) => {
                        let Some(ended) = self.disk.try_drive(&mut task) else { return false };
                        let ended = match ended {
                            Ok(done) => Ended::Done(done),
                            Err(duration) => Ended::Waits(task, duration),
                        };
                        inputs.push_back(OfficeInput::Ran { job, ended });
                    }
                    OfficeAction::Event(_, event) => self.events.push(event),
                    _ => {}
                }
            }
        }
        true
    }

    /// A minute later.
    fn later(&mut self) {
        self.disk.advance(61_000_000);
        assert!(self.run());
    }

    fn start_again(&mut self) {
        self.office = office(&mut self.disk, &self.site);
        assert!(self.run());
    }

    fn mailbox(&self, user: &str) -> Vec<String> {
        let parts = ["new", "cur"].map(|part| self.disk.contents(&format!("/{user}/{part}")));
        parts.concat().into_iter().map(|octets| String::from_utf8(octets).unwrap()).collect()
    }

    /// The recipients elsewhere in the queue, of every message.
    fn queue(&self) -> Vec<String> {
        let names = self.disk.names("/q/mail");
        let envelopes = names.iter().filter(|name| name.ends_with(".e"));
        let read = |name: &String| {
            let envelope = Envelope::from_file(&self.disk.read(&format!("/q/mail/{name}")).unwrap()).unwrap();
            let elsewhere = envelope.recipients.iter().filter(|to| to.mailbox.is_none());
            let to: Vec<String> = elsewhere.map(|to| to.forward_path.clone()).collect();
            format!("{}>{}", envelope.reverse_path, to.join(","))
        };
        envelopes.map(read).collect()
    }
}

fn to(recipients: &[&str]) -> Drop {
    let recipients = recipients.iter().map(ToString::to_string).collect();
    Drop { user: "ann".into(), name: "Ann".into(), recipients, ..Drop::default() }
}

const CRON: &str = "From: root (Cron)\nTo: root\nBcc: joe\nSubject: x\n\nhello\n";

#[test]
fn a_mail_goes_to_mailboxes_and_queue() {
    let mut world = World::new();
    let name = world.drop(&to(&["root", "eve@c.test"]), CRON);
    assert!(world.run());
    let [mail] = &world.mailbox("ann")[..] else { panic!() };
    let mail = mail.replace(&name, "ID");
    assert!(
        mail.starts_with(
            "Return-Path: <ann@us.test>\nReceived: by mx.us.test (from userid 1000) id ID;\n\tTue, 14 Nov 2023"
        ),
        "{mail}"
    );
    let rest = "\nFrom: root@us.test (Cron)\nTo: root@us.test\nSubject: x\nDate: Tue, 14 Nov 2023 22:13:30 +0000\n\
                Message-ID: <ID@mx.us.test>\n\nhello\n";
    assert!(mail.ends_with(rest), "{mail}");
    assert_eq!(world.queue(), ["ann@us.test>bob@b.test,eve@c.test"]);
    assert!(world.disk.names("/drop/new").is_empty() && world.disk.open_handles() == 0);
    let kinds: Vec<&str> = world
        .events
        .iter()
        .filter_map(|event| match event {
            Event::PickedUp { user: 1000, from, .. } if from == "ann@us.test" => Some("picked up"),
            Event::Queued { message_id, .. } if message_id.starts_with(b"<") => Some("queued"),
            Event::Delivered { subject, .. } if subject == b"x" => Some("delivered"),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, ["picked up", "queued", "delivered"]);
    // Another one is found by the next look.
    world.drop(&Drop { from: Some("<>".into()), ..to(&["joe"]) }, "hi\n");
    world.later();
    let [mail] = &world.mailbox("joe")[..] else { panic!() };
    assert!(
        mail.starts_with("Return-Path: <>\n") && mail.contains("From: \"Ann\" <ann@us.test>\n"),
        "{mail}"
    );
}

/// Everybody has the mail, once.
fn check_once(world: &World, what: &str) {
    assert_eq!(world.mailbox("ann").len(), 1, "{what}: ann has {:?}", world.mailbox("ann"));
    assert_eq!(world.mailbox("joe").len(), 1, "{what}");
    assert_eq!(world.queue(), ["ann@us.test>bob@b.test"], "{what}");
    assert!(world.disk.names("/drop/new").is_empty(), "{what}");
}

#[test]
fn the_power_may_go_at_any_step() {
    let mut step = 0;
    loop {
        let mut world = World::new();
        world.drop(&to(&["root", "joe"]), CRON);
        world.disk.ops = 0;
        world.disk.crash_at = Some(step);
        let finished = world.run();
        world.disk.restart();
        // Somebody has read it in the meantime.
        for name in world.disk.names("/ann/new") {
            world.disk.move_file(&format!("/ann/new/{name}"), &format!("/ann/cur/{name}:2,S"));
        }
        world.disk.settle();
        world.start_again();
        check_once(&world, &format!("step {step}"));
        if finished {
            break;
        }
        step += 1;
    }
    assert!(step > 20, "{step}");
}

#[test]
fn whatever_fails_is_tried_again() {
    for errno in [Errno::NoSpace, Errno::Io] {
        let mut step = 0;
        loop {
            let mut world = World::new();
            world.drop(&to(&["root", "joe"]), CRON);
            world.disk.ops = 0;
            world.disk.fail_at = Some((step, errno));
            assert!(world.run());
            let untouched = world.disk.ops < step;
            world.disk.fail_at = None;
            world.later();
            world.later();
            // What could not be removed goes with the next process.
            world.disk.settle();
            world.start_again();
            check_once(&world, &format!("step {step}, {errno:?}"));
            if untouched {
                break;
            }
            step += 1;
        }
        assert!(step > 20, "{step}");
    }
}

#[test]
fn a_mailbox_that_fails_has_its_copy_from_the_queue_and_not_twice() {
    let start = |fail_at: usize, crash_at: Option<usize>| {
        let mut world = World::new();
        world.drop(&to(&["root", "joe"]), CRON);
        world.disk.ops = 0;
        (world.disk.fail_at, world.disk.crash_at) = (Some((fail_at, Errno::Io)), crash_at);
        world.run();
        world
    };
    let mut late = 0;
    for step in 0..start(usize::MAX / 2, None).disk.ops {
        let world = start(step, None);
        let put_off = |event: &Event| matches!(event, Event::Sent { to, .. } if to.ends_with("@us.test"));
        if !world.events.iter().any(put_off) {
            continue;
        }
        late += 1;
        check_once(&world, &format!("step {step}"));
        // A third of the operations, another one each time.
        for crash in (step + 1 + late % 3..world.disk.ops).step_by(3) {
            let mut world = start(step, Some(crash));
            world.disk.restart();
            world.start_again();
            world.later();
            check_once(&world, &format!("step {step}, power cut at {crash}"));
        }
    }
    assert!(late > 10, "{late}");
}

#[test]
fn who_cannot_be_had_comes_back_to_the_sender_once() {
    let mut step = 0;
    loop {
        let mut world = World::new();
        world.drop(&to(&["nobody", "joe"]), CRON);
        world.disk.ops = 0;
        world.disk.crash_at = Some(step);
        let finished = world.run();
        world.disk.restart();
        world.start_again();
        let [notice] = &world.mailbox("ann")[..] else { panic!("step {step}: {:?}", world.mailbox("ann")) };
        assert!(notice.contains("  nobody\n    550 5.1.1 There is no such user here"), "{notice}");
        assert!(notice.contains("Subject: x") && !notice.contains("hello"), "{notice}");
        assert_eq!(world.mailbox("joe").len(), 1, "step {step}");
        if finished {
            break;
        }
        step += 1;
    }
}

#[test]
fn whoever_cannot_be_told_the_postmaster_can() {
    for from in [Some(""), Some("nobody"), None] {
        let mut world = World::new();
        let drop = Drop { user: "daemon".into(), from: from.map(Into::into), ..to(&["nobody"]) };
        world.drop(&drop, CRON);
        assert!(world.run());
        let [notice] = &world.mailbox("ann")[..] else { panic!("{from:?}") };
        assert!(notice.contains("To: <postmaster@us.test>\n"), "{notice}");
    }
    let mut world = World::new();
    world.drop(&Drop { from: Some("eve@c.test".into()), ..to(&["nobody"]) }, CRON);
    world.run();
    assert_eq!(world.queue(), [">eve@c.test"]);
    let mut world = World::new();
    let notify = Some(crate::smtp::parameter::Notify::default());
    world.drop(&Drop { notify, ..to(&["nobody"]) }, CRON);
    world.run();
    assert!(world.mailbox("ann").is_empty() && world.disk.names("/drop/new").is_empty());
}

#[test]
fn what_nobody_may_have_comes_back_and_a_full_mailbox_is_no_reason_for_others() {
    let mut world = World::with(|site| site.limits.message_bytes_max = 200);
    world.drop(&to(&["joe", "bob@b.test"]), &format!("Subject: x\n\n{}\n", "y".repeat(200)));
    assert!(world.run());
    assert!(world.mailbox("ann")[0].contains("552 5.3.4 Message too big"));
    assert!(world.mailbox("joe").is_empty() && world.queue().is_empty());

    let mut world = World::new();
    let looping = "Received: x\n".repeat(101);
    world.drop(&to(&["joe"]), &format!("{looping}\nhi\n"));
    assert!(world.run());
    assert!(world.mailbox("ann")[0].contains("554 5.4.6"));

    let mut world = World::new();
    world.drop(&to(&["full", "bob@b.test"]), CRON);
    assert!(world.run());
    assert!(world.mailbox("ann")[0].contains("  full@us.test\n    552 5.2.2"));
    assert_eq!(world.queue(), ["ann@us.test>bob@b.test"]);
    assert!(world.mailbox("full").is_empty());
}

#[test]
fn where_nothing_is_sent_it_comes_back() {
    let mut world = World::with(|site| site.sending = None);
    world.drop(&to(&["bob@b.test"]), CRON);
    assert!(world.run());
    assert!(world.mailbox("ann")[0].contains("550 5.7.1 This server has no way"));
}

#[test]
fn what_is_no_mail_is_set_aside() {
    let mut world = World::new();
    let name = name_of([9; 16]);
    world.disk.put_file(&format!("/drop/new/{name}"), b"postier-drop 2\nto joe\nend\n");
    world.disk.put_file("/drop/new/mail", b"hello\n");
    world.disk.put_dir("/drop/new/sub");
    world.disk.settle();
    assert!(world.run());
    let mut aside = [name.clone(), "mail".to_string()];
    aside.sort();
    assert_eq!(world.disk.names("/drop/cur"), aside);
    assert_eq!(world.disk.names("/drop/new"), ["sub"]);
    let told = world.events.iter().filter(|event| matches!(event, Event::SetAside { .. })).count();
    assert_eq!(told, 2);
}

#[test]
fn more_than_can_be_known_is_taken_all_the_same() {
    let mut world = World::with(|site| site.limits.pickup.known_max = 3);
    for _ in 0..20 {
        world.drop(&to(&["joe"]), CRON);
    }
    assert!(world.run());
    assert_eq!(world.mailbox("joe").len(), 20);
    assert!(world.disk.names("/drop/new").is_empty());
}

#[test]
fn what_a_program_has_left_behind_goes_after_a_day_and_a_half() {
    let mut world = World::new();
    world.disk.put_file("/drop/tmp/x", b"half");
    assert!(world.run());
    world.later();
    assert_eq!(world.disk.names("/drop/tmp"), ["x"]);
    world.disk.advance(37 * 3600 * 1_000_000);
    world.later();
    assert!(world.disk.names("/drop/tmp").is_empty());
}

#[test]
fn an_ending_process_takes_nothing_more() {
    let mut world = World::new();
    world.drop(&to(&["joe"]), CRON);
    let mut out = Vec::new();
    world.office.handle(world.disk.now(), OfficeInput::Shutdown, &mut out);
    assert!(world.run() && world.office.is_idle());
    assert_eq!(world.disk.names("/drop/new").len(), 1);
    let _: Box<[OfficeAction]> = out.into();
}
