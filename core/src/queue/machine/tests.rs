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
    loads: Vec<QueueId>,
    reports: Vec<String>,
    disk_fails: u32,
    notes: usize,
    /// Destinations that take a mail and say nothing more.
    stuck: BTreeSet<&'static str>,
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
            loads: vec![],
            reports: vec![],
            disk_fails: 0,
            notes: 0,
            stuck: BTreeSet::new(),
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
        self.handle(QueueInput::Queued(id));
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
                let envelope = match self.disk() {
                    true => self.spool.get(&id).cloned().map(Box::new).ok_or(Unreadable::Gone),
                    false => Err(Unreadable::Now),
                };
                self.loads.push(id.clone());
                let recipients = envelope.iter().flat_map(|envelope| &envelope.recipients);
                let line = |to: &Recipient| {
                    self.relay.map_or_else(|| to.domain().to_ascii_lowercase(), Into::into).into()
                };
                let destinations = recipients.map(line).collect();
                self.handle(QueueInput::Loaded { id, envelope, destinations });
            }
            QueueAction::Note(id, envelope) => {
                let durable = self.disk();
                self.notes += 1;
                if durable {
                    self.spool.insert(id.clone(), *envelope);
                }
                self.handle(QueueInput::Noted { id, durable });
            }
            QueueAction::Remove(id) => {
                let durable = self.disk();
                if durable {
                    assert!(self.spool.remove(&id).is_some());
                }
                self.handle(QueueInput::Removed { id, durable });
            }
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
            QueueAction::Report { id, to, host, fate, why } => {
                self.reports.push(format!("{id} {to} {host} {fate:?} {why}"));
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
        if self.stuck.contains(&*self.links[&link]) {
            return;
        }
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
    assert!(
        world.reports.last().is_some_and(|line| line.starts_with("c a@busy.test busy.test Failed Removed"))
    );
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

#[test]
fn slow_destinations_with_much_mail_leave_room_for_others() {
    const SLOW: [&str; 20] = [
        "a.slow", "b.slow", "c.slow", "d.slow", "e.slow", "f.slow", "g.slow", "h.slow", "i.slow", "j.slow",
        "k.slow", "l.slow", "m.slow", "n.slow", "o.slow", "p.slow", "q.slow", "r.slow", "s.slow", "t.slow",
    ];
    for slow in [&SLOW[..1], &SLOW] {
        let config = Config { active_max: 300, ..Config::default() };
        let mut world = World::with(config);
        world.hosts.insert("yes.test", yes);
        world.stuck.extend(slow);
        for n in 0..500 {
            for name in slow {
                world.put(&format!("{name}{n}"), "me@us.test", &[&format!("x@{name}")]);
            }
        }
        world.run();
        assert!(world.links.len() <= slow.len() * 5, "{}", world.links.len());
        for n in 0..100 {
            world.put(&format!("y{n}"), "me@us.test", &["a@yes.test"]);
            world.run();
            assert!(!world.spool.contains_key(&*format!("y{n}")), "{n} of {} slow ones", slow.len());
        }
        // When they come to, everything goes, each once.
        world.stuck.clear();
        slow.iter().for_each(|name| _ = world.hosts.insert(name, yes));
        let lost: Vec<LinkId> = world.links.keys().copied().collect();
        for link in lost {
            world.links.remove(&link);
            world.handle(QueueInput::Ended { link, why: None });
        }
        world.run_to_the_end();
        assert_eq!(world.offered.len(), 100 + 500 * slow.len());
    }
}

#[test]
fn a_long_line_is_filled_up_as_it_gets_shorter() {
    let mut world = World::with(Config { active_max: 40, ..Config::default() });
    world.hosts.insert("yes.test", yes);
    let start = world.now;
    for n in 0..500 {
        world.put(&format!("m{n}"), "me@us.test", &["a@yes.test"]);
    }
    world.run();
    assert_eq!((world.offered.len(), world.now), (500, start), "nobody waits for a timer");
    world.run_to_the_end();
}

#[test]
fn of_much_mail_for_the_dead_each_is_noted_once_and_given_up_in_time() {
    let mut world = World::with(Config { active_max: 20, ..Config::default() });
    world.down.insert("dead.test", down(false));
    for n in 0..300 {
        world.put(&format!("m{n}"), "me@us.test", &["a@dead.test"]);
    }
    let start = world.now;
    world.run();
    while world.now < start + 3 * 3600 {
        assert!(world.wait());
    }
    let noted = world.spool.values().filter(|envelope| {
        matches!(&envelope.recipients[0].state, State::Waiting { last, .. } if last == "451 4.4.1 no answer")
    });
    assert_eq!(noted.count(), 300, "whoever asks is told why");
    assert!(world.notes < 1000, "{} notes", world.notes);
    world.run_to_the_end();
    assert!(world.offered.is_empty());
    let days = (world.now - start) as f64 / 86_400.0;
    assert!((4.0..4.3).contains(&days), "{days}");
    let count = |word: &str| world.told.iter().filter(|told| told.contains(word)).count();
    assert_eq!((count("delayed"), count("failed")), (300, 300));
}

#[test]
fn what_an_earlier_process_left_is_looked_at_a_few_at_a_time_and_new_mail_does_not_wait_for_it() {
    let mut world = World::new();
    world.hosts.extend([("yes.test", yes as Answer), ("busy.test", later)]);
    let mut found: Vec<QueueId> = vec![];
    for n in 0..1000 {
        let id: QueueId = format!("old{n}").into();
        let mut envelope = Envelope {
            arrived: world.now,
            reverse_path: "me@us.test".into(),
            recipients: vec![Recipient::new("a@yes.test")],
            held: n == 7,
            ..Envelope::default()
        };
        let next = world.now + 60;
        envelope.recipients[0].state = State::Waiting { next, attempts: 1, last: "450 later".into() };
        if n != 8 {
            world.spool.insert(id.clone(), envelope);
        }
        found.push(id);
    }
    world.handle(QueueInput::Found(found.clone()));
    assert_eq!((world.queue.len(), world.pending.len()), (1000, LOADS_MAX));
    // What is asked for meanwhile is done, and what comes goes before most.
    world.handle(QueueInput::Remove("old999".into()));
    world.handle(QueueInput::Hold { id: "old998".into(), held: true });
    world.put("new", "me@us.test", &["a@yes.test"]);
    while world.spool.contains_key("new") {
        let action = world.pending.pop_front().expect("it is sent");
        world.act(action);
    }
    assert!(world.loads.len() < 500, "{} looked at before", world.loads.len());
    // Named a second time, nothing is done a second time.
    world.handle(QueueInput::Found(found));
    world.run();
    assert_eq!(world.offered, ["new a@yes.test"]);
    assert_eq!(world.queue.len(), 998, "one is removed, one was not there");
    assert!(world.spool["old998"].held && !world.spool.contains_key("old999"));
    for id in ["old7", "old998"] {
        world.handle(QueueInput::Hold { id: id.into(), held: false });
    }
    world.run_to_the_end();
    assert_eq!(world.offered.len(), 999);
}

#[test]
fn an_order_for_what_cannot_be_read_now_is_carried_out_later() {
    let mut world = World::new();
    world.hosts.insert("busy.test", later);
    world.put("a", "me@us.test", &["a@busy.test"]);
    world.run();
    world.disk_fails = 1;
    world.handle(QueueInput::Remove("a".into()));
    world.run();
    assert!(world.spool.contains_key("a"));
    assert!(world.wait());
    assert!(world.spool.is_empty() && world.queue.is_empty());
}

#[test]
fn the_log_hears_of_each_recipient_that_came_to_no_server() {
    let mut world = World::new();
    world.hosts.insert("yes.test", yes);
    world.down.extend([("dead.test", down(false)), ("typo.test", down(true))]);
    world.put("a", "me@us.test", &["a@dead.test", "b@typo.test", "c@yes.test"]);
    world.run();
    let expected = [
        "a a@dead.test dead.test Deferred 451 4.4.1 no answer",
        "a b@typo.test typo.test Failed 451 4.4.1 no answer",
    ];
    assert_eq!(world.reports, expected);
    world.put("b", "me@us.test", &["a@dead.test"]);
    world.run();
    assert_eq!(
        world.reports[2], "b a@dead.test dead.test Deferred 451 4.4.1 no answer",
        "without a try of its own"
    );
    world.run_to_the_end();
    let last = world.reports.last().unwrap();
    assert!(last.ends_with("Failed 451 4.4.1 no answer (given up after 4 days)"), "{last}");
}

#[test]
fn mail_for_a_domain_that_does_not_exist_never_waits() {
    let mut world = World::new();
    world.down.insert("typo.test", down(true));
    for id in ["a", "b"] {
        world.put(id, "me@us.test", &["a@typo.test"]);
        world.run();
    }
    assert_eq!(world.told, ["a failed [0]", "b failed [0]"]);
    assert!(world.queue.is_empty() && world.queue.destinations.is_empty());
}

#[test]
fn destinations_of_old_troubles_are_forgotten() {
    let mut world = World::new();
    for n in 0..5000 {
        let name: &'static str = format!("d{n}.test").leak();
        world.down.insert(name, down(false));
        world.put("a", "me@us.test", &[&format!("x@{name}")]);
        world.run();
        world.handle(QueueInput::Remove("a".into()));
        world.run();
        world.now += 600;
    }
    assert!(world.queue.destinations.len() <= 2 * SWEEP_LEAST, "{}", world.queue.destinations.len());
}

#[test]
fn a_mail_that_is_sent_at_once_is_not_noted_before_it_goes_and_its_connection_waits_until_it_is_gone() {
    let mut world = World::new();
    world.hosts.insert("yes.test", yes);
    world.put("a", "me@us.test", &["a@yes.test"]);
    world.put("b", "me@us.test", &["a@yes.test", "b@yes.test", "c@yes.test"]);
    let mut gone = 0;
    while let Some(action) = world.pending.pop_front() {
        match &action {
            QueueAction::Remove(_) => gone += 1,
            // Two recipients at a time: the first two of `b` are noted.
            QueueAction::GoOn(_) => {
                assert!(gone + world.notes > 0 && gone + world.notes >= world.offered.len() / 2)
            }
            _ => {}
        }
        world.act(action);
    }
    assert_eq!((gone, world.notes, world.offered.len()), (2, 1, 4));
}
