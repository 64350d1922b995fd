//! The queue against a small world: a spool that remembers, hosts that answer by a table, a clock that jumps.

use super::*;
use crate::queue::envelope::{Recipient, State};
use crate::smtp::client::reply::Reply;
use alloc::format;
use alloc::vec;

/// What a destination does to each recipient that is offered to it.
type Answer = fn(&str, u32) -> Outcome;

struct World {
    queue: Queue,
    now: i64,
    spool: BTreeMap<QueueId, Envelope>,
    hosts: BTreeMap<&'static str, Answer>,
    down: BTreeMap<&'static str, Unreachable>,
    /// Connections open now, to whom.
    links: BTreeMap<LinkId, Arc<str>>,
    most_links: usize,
    connects: Vec<Arc<str>>,
    /// Recipients offered, in order.
    offered: Vec<String>,
    told: Vec<String>,
    disk_fails: u32,
    /// One server takes everything.
    relay: Option<&'static str>,
    tries: BTreeMap<String, u32>,
    /// Actions to carry out, oldest first.
    pending: VecDeque<QueueAction>,
}

fn reply(text: &str) -> Reply {
    let code = text[..3].parse().unwrap();
    Reply { code, enhanced: None, text: text[3..].trim().into() }
}

fn yes(_: &str, _: u32) -> Outcome {
    Outcome::Delivered { reply: reply("250 ok"), dsn: false }
}

fn no(_: &str, _: u32) -> Outcome {
    Outcome::Refused(reply("550 no"))
}

fn later(_: &str, _: u32) -> Outcome {
    Outcome::Refused(reply("450 later"))
}

fn second_time(_: &str, tries: u32) -> Outcome {
    if tries > 1 { yes("", 0) } else { later("", 0) }
}

fn down(permanent: bool) -> Unreachable {
    Unreachable { permanent, why: "451 4.4.1 no answer".into(), host: None }
}

impl World {
    fn new() -> Self {
        World::with(Config::default())
    }

    fn with(config: Config) -> Self {
        World {
            queue: Queue::new(config, 0),
            now: 1_700_000_000,
            spool: BTreeMap::new(),
            hosts: BTreeMap::new(),
            down: BTreeMap::new(),
            links: BTreeMap::new(),
            most_links: 0,
            connects: vec![],
            offered: vec![],
            told: vec![],
            disk_fails: 0,
            relay: None,
            tries: BTreeMap::new(),
            pending: VecDeque::new(),
        }
    }

    fn put(&mut self, id: &str, from: &str, to: &[&str]) {
        let recipients = to.iter().map(|to| Recipient::new(to)).collect();
        let envelope =
            Envelope { arrived: self.now, reverse_path: from.into(), recipients, ..Envelope::default() };
        let id: QueueId = id.into();
        self.spool.insert(id.clone(), envelope);
        self.handle(QueueInput::Queued { id, next: Some(self.now) });
    }

    fn handle(&mut self, input: QueueInput) {
        let mut out = vec![];
        self.queue.handle(self.now, input, &mut out);
        self.pending.extend(out);
    }

    fn disk(&mut self) -> bool {
        let fails = self.disk_fails > 0;
        self.disk_fails = self.disk_fails.saturating_sub(1);
        !fails
    }

    /// Carries out everything that can be done without waiting.
    fn run(&mut self) {
        for _ in 0..100_000 {
            let Some(action) = self.pending.pop_front() else { return };
            self.act(action);
            self.most_links = self.most_links.max(self.links.len());
        }
        panic!("it never comes to rest: {:?}", self.pending);
    }

    fn act(&mut self, action: QueueAction) {
        match action {
            QueueAction::Load(id) => {
                let envelope = self.disk().then(|| self.spool.get(&id).cloned().map(Box::new)).flatten();
                let recipients = envelope.iter().flat_map(|envelope| &envelope.recipients);
                let line = |to: &Recipient| {
                    self.relay.map_or_else(|| to.domain().to_ascii_lowercase(), Into::into).into()
                };
                let destinations = recipients.map(line).collect();
                self.handle(QueueInput::Loaded { id, envelope, destinations });
            }
            QueueAction::Note(id, envelope) => {
                let durable = self.disk();
                if durable {
                    self.spool.insert(id.clone(), *envelope);
                }
                self.handle(QueueInput::Noted { id, durable });
            }
            QueueAction::Remove(id) => assert!(self.spool.remove(&id).is_some()),
            QueueAction::Connect { link, destination } => {
                self.connects.push(destination.clone());
                match self.down.get(&*destination) {
                    Some(why) => {
                        let why = Some(why.clone());
                        self.handle(QueueInput::Ended { link, why });
                    }
                    None => {
                        self.links.insert(link, destination);
                        self.handle(QueueInput::Ready { link, recipients_max: 2 });
                    }
                }
            }
            QueueAction::Job { link, job: Some(job) } => self.send(link, &job),
            QueueAction::Job { link, job: None } => {
                self.links.remove(&link);
                self.handle(QueueInput::Ended { link, why: None });
            }
            QueueAction::GoOn(link) => self.handle(QueueInput::Ready { link, recipients_max: 2 }),
            QueueAction::Tell { id, action, recipients, .. } => {
                let durable = self.disk();
                if durable {
                    let action = match action {
                        Told::Failed => "failed",
                        Told::Delayed { .. } => "delayed",
                        Told::Relayed => "relayed",
                    };
                    self.told.push(format!("{id} {action} {recipients:?}"));
                }
                self.handle(QueueInput::Told { id, durable });
            }
        }
    }

    fn send(&mut self, link: LinkId, job: &Job) {
        let host = self.hosts[&*self.links[&link]];
        let mut outcomes = vec![];
        for n in &job.recipients {
            let to = &job.envelope.recipients[*n].forward_path;
            let key = format!("{} {to}", job.id);
            let tries = self.tries.entry(key.clone()).or_default();
            *tries += 1;
            self.offered.push(key);
            outcomes.push(host(to, *tries));
        }
        self.handle(QueueInput::Outcomes { link, host: "mx".into(), outcomes });
    }

    /// Lets the time come for which the queue waits.
    fn wait(&mut self) -> bool {
        let Some(next) = self.queue.poll_timeout() else { return false };
        self.now = self.now.max(next);
        self.handle(QueueInput::Timeout);
        self.run();
        true
    }

    fn run_to_the_end(&mut self) {
        self.run();
        for _ in 0..100_000 {
            if !self.wait() {
                assert!(self.queue.is_empty() && self.spool.is_empty() && self.links.is_empty());
                assert!(self.queue.destinations.values().all(|d| d.line.is_empty() && d.links == 0));
                assert_eq!(self.queue.active, 0);
                return;
            }
        }
        panic!("it does not end");
    }
}

#[test]
fn a_mail_goes_out_and_is_gone() {
    let mut world = World::new();
    world.hosts.insert("them.test", yes);
    world.put("a", "me@us.test", &["bob@them.test", "eve@THEM.test", "joe@them.test"]);
    world.run_to_the_end();
    assert_eq!(world.offered, ["a bob@them.test", "a eve@THEM.test", "a joe@them.test"]);
    assert_eq!(world.connects.len(), 1, "two at a time, over one connection");
    assert!(world.told.is_empty());
}

#[test]
fn each_recipient_has_its_own_fate() {
    let mut world = World::new();
    world.hosts.extend([("yes.test", yes as Answer), ("no.test", no), ("grey.test", second_time)]);
    world.put("a", "me@us.test", &["a@yes.test", "b@no.test", "c@grey.test"]);
    world.run();
    assert_eq!(world.told, ["a failed [1]"]);
    let states: Vec<_> = world.spool["a"].recipients.iter().map(|r| r.next().is_some()).collect();
    assert_eq!(states, [false, false, true]);
    world.run_to_the_end();
    assert_eq!(world.tries["a c@grey.test"], 2);
    assert_eq!((world.tries["a a@yes.test"], world.tries["a b@no.test"]), (1, 1));
}

#[test]
fn after_days_it_is_given_up_and_the_sender_has_been_told_once_that_it_takes_long() {
    let mut world = World::new();
    world.hosts.insert("busy.test", later);
    let start = world.now;
    world.put("a", "me@us.test", &["a@busy.test"]);
    world.run_to_the_end();
    assert_eq!(world.told, ["a delayed [0]", "a failed [0]"]);
    let days = (world.now - start) as f64 / 86_400.0;
    assert!((4.0..4.3).contains(&days), "{days}");
    assert!((25..40).contains(&world.tries["a a@busy.test"]), "{:?}", world.tries);
}

#[test]
fn nobody_is_told_about_a_notice_and_nobody_who_said_never() {
    let mut world = World::new();
    world.hosts.extend([("busy.test", later as Answer), ("no.test", no)]);
    world.put("bounce", "", &["a@busy.test", "a@no.test"]);
    world.put("quiet", "me@us.test", &["a@no.test", "a@busy.test"]);
    for recipient in &mut world.spool.get_mut("quiet").unwrap().recipients {
        recipient.notify = Some(crate::smtp::parameter::Notify::default());
    }
    world.run_to_the_end();
    assert!(world.told.is_empty(), "{:?}", world.told);
}

#[test]
fn success_is_told_where_the_other_server_does_not() {
    fn tells(_: &str, _: u32) -> Outcome {
        Outcome::Delivered { reply: reply("250 ok"), dsn: true }
    }
    let mut world = World::new();
    world.hosts.extend([("old.test", yes as Answer), ("new.test", tells)]);
    world.put("a", "me@us.test", &["a@old.test", "b@new.test"]);
    for recipient in &mut world.spool.get_mut("a").unwrap().recipients {
        recipient.notify = Some(crate::smtp::parameter::Notify { success: true, ..Default::default() });
    }
    world.run_to_the_end();
    assert_eq!(world.told, ["a relayed [0]"]);
}

#[test]
fn a_dead_destination_is_asked_once_and_delays_no_other() {
    let mut world = World::new();
    world.hosts.insert("yes.test", yes);
    world.down.insert("dead.test", down(false));
    for n in 0..1000 {
        world.put(&format!("d{n}"), "me@us.test", &["a@dead.test"]);
    }
    world.put("y", "me@us.test", &["a@yes.test"]);
    world.run();
    assert!(!world.spool.contains_key("y"));
    let dead = world.connects.iter().filter(|name| &***name == "dead.test").count();
    assert!(dead <= 5, "{dead} connections for a thousand mails");
    // When it is back, all go.
    world.down.clear();
    world.hosts.insert("dead.test", yes);
    world.run_to_the_end();
    assert_eq!(world.offered.len(), 1001);
}

#[test]
fn a_server_that_takes_one_connection_gets_one() {
    let mut world = World::new();
    world.hosts.insert("one.test", yes);
    for n in 0..20 {
        world.put(&format!("m{n}"), "me@us.test", &["a@one.test"]);
    }
    // The first connection gets its job; then the server takes no other.
    while world.offered.is_empty() {
        let action = world.pending.pop_front().expect("a job");
        world.act(action);
    }
    world.down.insert("one.test", down(false));
    world.run();
    assert_eq!(world.offered.len(), 20);
    assert!(world.connects.len() <= 5, "{:?}", world.connects);
    assert!(world.spool.is_empty());
}

#[test]
fn a_domain_that_does_not_exist_is_told_at_once() {
    let mut world = World::new();
    world.down.insert("typo.test", down(true));
    world.put("a", "me@us.test", &["a@typo.test"]);
    world.run();
    assert_eq!(world.told, ["a failed [0]"]);
    world.run_to_the_end();
}

#[test]
fn connections_are_bounded_in_all_and_for_each() {
    let config = Config { connections_max: 7, connections_per_destination_max: 3, ..Config::default() };
    let mut world = World::with(config);
    let names = ["a.test", "b.test", "c.test", "d.test"];
    for name in names {
        world.hosts.insert(name, yes);
        for n in 0..50 {
            world.put(&format!("{name}{n}"), "me@us.test", &[&format!("x@{name}")]);
        }
    }
    world.run_to_the_end();
    assert!(world.most_links <= 7, "{}", world.most_links);
    assert_eq!(world.offered.len(), 200);
}

#[test]
fn memory_holds_a_bounded_number_of_envelopes() {
    let mut world = World::with(Config { active_max: 10, ..Config::default() });
    world.hosts.insert("yes.test", yes);
    for n in 0..500 {
        world.put(&format!("m{n}"), "me@us.test", &["a@yes.test"]);
        assert!(world.queue.active <= 10);
    }
    world.run_to_the_end();
    assert_eq!(world.offered.len(), 500);
}

#[test]
fn a_disk_that_refuses_delays_and_repeats_nothing() {
    for fails in 1..6 {
        let mut world = World::new();
        world.hosts.extend([("yes.test", yes as Answer), ("no.test", no)]);
        world.put("a", "me@us.test", &["a@yes.test", "b@no.test"]);
        world.disk_fails = fails;
        world.run_to_the_end();
        assert_eq!(world.offered.len(), 2, "{fails}: {:?}", world.offered);
        assert_eq!(world.told, ["a failed [1]"], "{fails}");
    }
}

#[test]
fn what_is_held_is_not_tried_until_it_is_released() {
    let mut world = World::new();
    world.hosts.insert("grey.test", second_time);
    world.put("a", "me@us.test", &["a@grey.test"]);
    world.run();
    world.handle(QueueInput::Hold { id: "a".into(), held: true });
    world.run();
    assert!(world.spool["a"].held && world.queue.poll_timeout().is_none());
    world.handle(QueueInput::Hold { id: "a".into(), held: false });
    world.run();
    world.run_to_the_end();
    assert_eq!(world.tries["a a@grey.test"], 2);
}

#[test]
fn a_flush_tries_now_and_a_removed_mail_is_gone() {
    let mut world = World::new();
    world.hosts.insert("busy.test", later);
    world.down.insert("dead.test", down(false));
    world.put("a", "me@us.test", &["a@busy.test"]);
    world.put("b", "me@us.test", &["a@dead.test"]);
    world.run();
    let before = world.now;
    world.down.clear();
    world.hosts.extend([("busy.test", yes as Answer), ("dead.test", yes)]);
    world.handle(QueueInput::Flush(Some("a".into())));
    world.run();
    assert!(!world.spool.contains_key("a"));
    world.handle(QueueInput::Flush(None));
    world.run();
    assert!(world.spool.is_empty() && world.now == before);
    world.hosts.insert("busy.test", later);
    world.put("c", "me@us.test", &["a@busy.test"]);
    world.run();
    world.handle(QueueInput::Remove("c".into()));
    world.run();
    assert!(world.spool.is_empty() && world.told.is_empty());
    world.run_to_the_end();
}

#[test]
fn domains_that_one_server_takes_share_its_connections() {
    let mut world = World::with(Config { connections_per_destination_max: 1, ..Config::default() });
    world.relay = Some("smart:25");
    world.hosts.insert("smart:25", yes);
    world.put("a", "me@us.test", &["x@a.test", "y@b.test"]);
    world.put("b", "me@us.test", &["z@c.test"]);
    world.run();
    assert_eq!(world.offered, ["a x@a.test", "a y@b.test", "b z@c.test"]);
    assert_eq!(world.connects.iter().map(|to| &**to).collect::<Vec<_>>(), ["smart:25"]);
    world.run_to_the_end();
}

#[test]
fn a_connection_that_breaks_costs_its_job_one_try() {
    let mut world = World::new();
    world.hosts.insert("yes.test", yes);
    world.put("a", "me@us.test", &["a@yes.test"]);
    // Connect, take the job, lose the connection before its outcome.
    loop {
        match world.pending.pop_front().expect("a job") {
            QueueAction::Job { link, job: Some(_) } => {
                world.links.remove(&link);
                world.handle(QueueInput::Ended { link, why: None });
                break;
            }
            action => world.act(action),
        }
    }
    world.run();
    let State::Waiting { attempts, last, .. } = &world.spool["a"].recipients[0].state else { panic!() };
    assert_eq!((*attempts, last.as_str()), (1, "451 4.4.2 The connection was lost"));
    world.run_to_the_end();
    assert_eq!(world.offered, ["a a@yes.test"]);
}
