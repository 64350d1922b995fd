//! One world from its beginning to its judgement.
//!
//! ```text
//! busy: actors act, faults strike ─▶ quiet: nothing is under way ─▶ compare: each client's model against a fresh FETCH
//!   ─▶ the last life ends (power cut, kill or in good order) ─▶ judged: a new life shows everything
//!   ─▶ drained, if it sends: every recipient elsewhere is decided ─▶ over: timers run out, nothing may be left
//! ```
//! The world has one thread and one queue of events; all chances come from the seed.

mod elsewhere;

use crate::actors::judge::Judge;
use crate::actors::{Actor, Acts, Cx, Wish};
use crate::env::{Env, Event};
use crate::internet::Internet;
use crate::network::{LinkId, Packet, cut};
use crate::plant::Plant;
use crate::process::{Process, QUEUE};
use crate::rng::Rng;
use crate::scenario::{ACCOUNTS, Fault, Role, Scenario};
use crate::trace::Trace;

const SECOND: u64 = 1_000_000;
/// Actors must be done by then; a client may wait for several slow answers.
const BUSY_MAX: u64 = 12 * 3600 * SECOND;
/// What clients left behind is done by then.
const QUIET: u64 = 30 * SECOND;
/// Comparing and judging take no longer.
const CHECK_MAX: u64 = 1800 * SECOND;
/// All timers of a server have run out by then.
const TIMERS_MAX: u64 = (2 * 3600 + 600) * SECOND;
/// Events in one phase: more mean that something goes in circles; and for each item of a scenario.
const EVENTS_MAX: u64 = 3_000_000;
const EVENTS_PER_ITEM: u64 = 2_000;

struct Slot {
    actor: Option<Actor>,
    rng: Rng,
    piece: usize,
    link: Option<LinkId>,
    wakes: u64,
}

/// See the module's manual.
pub struct World {
    env: Env,
    process: Option<Process>,
    slots: Vec<Slot>,
    scenario: Scenario,
    /// Faults still strike.
    busy: bool,
}

/// What came of a world.
#[derive(Debug)]
pub struct Report {
    /// What may not be; none if all is well.
    pub violations: Vec<String>,
    /// The same for every run of the same scenario.
    pub hash: u64,
    /// Events.
    pub steps: u64,
    /// File operations.
    pub ops: u64,
    /// How long it lasted, in microseconds of its own time.
    pub micros: u64,
    /// How many lives the server had.
    pub lives: u32,
    /// Recipients elsewhere that were promised: delivered, sent back, given up in silence as the sender wanted it, and none
    /// of these.
    pub post: [usize; 4],
    /// The last lines of the trace, if it was kept.
    pub last: Vec<String>,
}

/// Lets a world happen.
pub fn run(scenario: Scenario, trace: Trace, plant: Option<Plant>) -> Report {
    World::new(scenario, trace, plant).run()
}

impl World {
    fn new(scenario: Scenario, trace: Trace, plant: Option<Plant>) -> Self {
        let mut env = Env::new(scenario.seed, scenario.setting.clone(), trace, plant);
        env.calm = scenario.is_calm();
        env.internet = scenario
            .elsewhere
            .map(|elsewhere| Internet::new(scenario.seed, elsewhere.domains, elsewhere.fault_percent));
        // A directory for mail that has long been there.
        let made = env.disk.make_dir("mail");
        if env.internet.is_some() {
            let _ = env.disk.make_dir(QUEUE);
        }
        if made.is_ok() {
            env.disk.sync("");
        }
        let slots = scenario.actors.iter().enumerate().map(|(index, plan)| {
            let piece = match plan.role {
                Role::Smtp(manner)
                | Role::Submission(_, manner)
                | Role::Imap(_, manner, _)
                | Role::Writer { manner, .. }
                | Role::Hostile(manner) => manner.piece,
                Role::Procmail(_) | Role::Mutt(_) | Role::Dovecot(_) => 0,
            };
            let rng = Rng::fork(scenario.seed, 100 + index as u64);
            Slot { actor: Some(Actor::new(index, plan)), rng, piece, link: None, wakes: 0 }
        });
        World { slots: slots.collect(), env, process: None, scenario, busy: true }
    }

    fn run(mut self) -> Report {
        self.arrange();
        let busy = |world: &World| {
            world.slots.iter().any(|slot| slot.actor.as_ref().is_some_and(|actor| !actor.is_done()))
        };
        if !self.go(BUSY_MAX, busy) {
            self.complain_of_busy();
        }
        self.calm_down();
        self.compare();
        if self.env.ledger.violations.is_empty() {
            self.look_for_debris();
        }
        self.last_end();
        self.judge();
        self.drain();
        self.end()
    }

    /// Everything that is known to come.
    fn arrange(&mut self) {
        self.env.after(0, Event::Boot);
        for index in 0..self.slots.len() {
            let wait = self.scenario.actors[index].steps.first().map_or(1, |step| step.pause_ms);
            self.wake_after(index, wait * 1000 + SECOND);
        }
        for (place, item) in self.scenario.faults.clone().into_iter().enumerate() {
            match item.fault {
                Fault::PowerCut { .. } | Fault::Kill { .. } | Fault::Errors { .. } => {
                    self.env.op_faults.push((place, item))
                }
                Fault::Restart { at_ms }
                | Fault::Reload { at_ms }
                | Fault::SlowDisk { at_ms, .. }
                | Fault::Reset { at_ms, .. }
                | Fault::Stall { at_ms, .. }
                | Fault::ClockStep { at_ms, .. } => self.env.at(at_ms * 1000 + SECOND, Event::Fault(place)),
            }
        }
    }

    /// Goes on for so long, or as long as something goes on; says whether it ended by itself.
    fn go(&mut self, most: u64, goes_on: impl Fn(&World) -> bool) -> bool {
        let until = self.env.now + most;
        let mut events = 0;
        while goes_on(self) {
            let Some(event) = self.env.next(until) else {
                self.env.now = until;
                self.env.tell_disk();
                return false;
            };
            events += 1;
            if events == EVENTS_MAX + EVENTS_PER_ITEM * self.scenario.items as u64 {
                self.env.ledger.violation("the world goes in circles".into());
            }
            if !self.env.ledger.violations.is_empty() {
                return true;
            }
            self.happen(event);
        }
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Boot => self.boot(),
            Event::Fault(place) if self.busy => self.fault(place),
            Event::Fault(_) => {}
            Event::Actor(index, wake) => {
                if self.slots.get(index).is_some_and(|slot| slot.wakes == wake) {
                    self.with_actor(index, |actor, cx| actor.wake(cx));
                }
            }
            Event::ToClient(link) => {
                if let Some(link) = self.env.links.get_mut(&link) {
                    link.down.arrive();
                }
                self.read_down(link);
                self.tell_process(event);
            }
            Event::Unstalled(link) => {
                self.read_down(link);
                self.tell_process(event);
            }
            Event::ToServer(link) => {
                if let Some(link) = self.env.links.get_mut(&link) {
                    link.up.arrive();
                }
                self.tell_process(event);
            }
            Event::Called(link) => {
                self.tell_process(event);
                if let Some(index) = self.env.links.get(&link).map(|link| link.actor) {
                    self.with_actor(index, |actor, cx| actor.wake(cx));
                }
            }
            Event::OpDone(..)
            | Event::Resolved(..)
            | Event::Timer(_)
            | Event::FrontMail(..)
            | Event::Password(..)
            | Event::Notify(..) => {
                self.tell_process(event);
            }
        }
        self.connect_calls();
        if let Some(process) = &mut self.process {
            process.note_touched(&mut self.env);
            if process.has_ended(&self.env) {
                let process = self.process.take();
                self.end_process(process);
                self.env.after(SECOND, Event::Boot);
            }
        } else {
            self.env.disk.touched.clear();
        }
    }

    fn tell_process(&mut self, event: Event) {
        if let Some(process) = &mut self.process {
            process.handle(&mut self.env, event);
        }
    }

    fn end_process(&mut self, process: Option<Process>) {
        if let Some(process) = process {
            process.die(&mut self.env);
        }
    }

    fn boot(&mut self) {
        if self.process.is_some() {
            return;
        }
        if self.env.planted.is(Plant::NewUidValidity) && self.env.life > 0 {
            for name in ACCOUNTS {
                self.env.disk.edit(&format!("mail/{name}/dovecot-uidlist"), |list| list.clear());
            }
        }
        let (now, life) = (self.env.now, self.env.life + 1);
        self.env
            .trace
            .event(now, u64::from(life), b"boot", || format!("world: life {life} of the server begins"));
        self.process = Some(Process::start(&mut self.env));
        self.env.listens = true;
    }

    fn fault(&mut self, place: usize) {
        let Some(item) = self.scenario.faults.get(place).copied() else { return };
        let now = self.env.now;
        self.env.trace.event(now, place as u64, b"fault", || format!("world: {:?}", item.fault));
        match item.fault {
            Fault::PowerCut { down_ms, .. } => self.cut_power(down_ms),
            Fault::Kill { down_ms, .. } => {
                let process = self.process.take();
                self.end_process(process);
                self.env.after(down_ms * 1000, Event::Boot);
            }
            Fault::Restart { .. } => {
                if let Some(process) = &mut self.process {
                    process.shut_down(&mut self.env);
                }
            }
            Fault::Reload { .. } => {
                if let Some(process) = &mut self.process {
                    process.reload(&mut self.env);
                }
            }
            Fault::Errors { count, hit, errno, .. } => self.env.start_failing(count, hit, errno),
            Fault::SlowDisk { for_ms, op_ms, .. } => self.env.slow = (op_ms * 1000, now + for_ms * 1000),
            Fault::Reset { dice, .. } => {
                if let Some(index) = self.some_link(dice) {
                    self.drop_link(index);
                    self.with_actor(index, |actor, cx| actor.closed(cx));
                }
            }
            Fault::Stall { for_ms, dice, .. } => {
                if let Some(index) = self.some_link(dice)
                    && let Some(id) = self.slots[index].link
                    && let Some(link) = self.env.links.get_mut(&id)
                {
                    link.stalled_until = now + for_ms * 1000;
                    self.env.after(for_ms * 1000, Event::Unstalled(id));
                }
            }
            Fault::ClockStep { by_s, .. } => {
                self.env.clock_step_s += by_s;
                self.env.tell_disk();
            }
        }
    }

    /// An actor that is connected.
    fn some_link(&self, dice: u64) -> Option<usize> {
        let connected: Vec<usize> =
            (0..self.slots.len()).filter(|index| self.slots[*index].link.is_some()).collect();
        connected.get(usize::try_from(dice).unwrap_or(0).checked_rem(connected.len())?).copied()
    }

    fn cut_power(&mut self, down_ms: u64) {
        let process = self.process.take();
        self.end_process(process);
        let mut rng = self.env.rng.clone();
        self.env.disk.crash(&mut rng);
        self.env.rng = rng;
        for index in 0..self.slots.len() {
            self.with_actor(index, |actor, cx| actor.power_cut(cx));
        }
        self.env.alive.clear();
        self.env.after(down_ms * 1000, Event::Boot);
        self.env.booted = self.env.now().wall;
    }

    /// The client reads what has arrived, unless it is stalled.
    fn read_down(&mut self, id: LinkId) {
        loop {
            let now = self.env.now;
            let Some(link) = self.env.links.get_mut(&id) else { return };
            let index = link.actor;
            if link.left || link.stalled_until > now {
                return;
            }
            let Some(packet) = link.down.read() else { return };
            match packet {
                Packet::Octets(octets) => self.with_actor(index, |actor, cx| actor.hear(&octets, cx)),
                Packet::Tls => self.with_actor(index, |actor, cx| actor.tls_done(cx)),
                Packet::End | Packet::Reset => {
                    if packet == Packet::End {
                        self.env.send_up(id, Packet::End);
                    }
                    if let Some(link) = self.env.links.get_mut(&id) {
                        link.left = true;
                    }
                    self.slots[index].link = None;
                    self.with_actor(index, |actor, cx| actor.closed(cx));
                }
            }
        }
    }

    /// The client is gone without a word.
    fn drop_link(&mut self, index: usize) {
        let Some(id) = self.slots[index].link.take() else { return };
        self.env.send_up(id, Packet::Reset);
        if let Some(link) = self.env.links.get_mut(&id) {
            link.left = true;
        }
    }

    fn wake_after(&mut self, index: usize, micros: u64) {
        self.slots[index].wakes += 1;
        let wake = self.slots[index].wakes;
        self.env.after(micros, Event::Actor(index, wake));
    }

    fn with_actor(&mut self, index: usize, act: impl FnOnce(&mut Actor, &mut Cx<'_>)) {
        let slot = &mut self.slots[index];
        let Some(mut actor) = slot.actor.take() else { return };
        let mut wishes = Vec::new();
        act(&mut actor, &mut Cx { env: &mut self.env, rng: &mut slot.rng, wishes: &mut wishes });
        slot.actor = Some(actor);
        for wish in wishes {
            self.grant(index, wish);
        }
    }

    fn grant(&mut self, index: usize, wish: Wish) {
        match wish {
            Wish::Connect(service) => {
                self.drop_link(index);
                let id = self.env.open_link(index);
                self.slots[index].link = Some(id);
                match &mut self.process {
                    Some(process) if self.env.listens => process.connect(&mut self.env, id, index, service),
                    Some(_) | None => self.env.send_down(id, Packet::Reset),
                }
            }
            Wish::Send(packet) => {
                let Some(id) = self.slots[index].link else { return };
                match packet {
                    Packet::Octets(octets) => {
                        let slot = &mut self.slots[index];
                        for piece in cut(&octets, slot.piece, |most| slot.rng.below(most)) {
                            self.env.send_up(id, Packet::Octets(piece));
                        }
                    }
                    other => self.env.send_up(id, other),
                }
            }
            Wish::Leave => self.drop_link(index),
            Wish::Wake(micros) => self.wake_after(index, micros),
        }
    }

    fn complain_of_busy(&mut self) {
        let busy = self.slots.iter().filter_map(|slot| slot.actor.as_ref()).filter(|actor| !actor.is_done());
        let busy: Vec<String> = busy.map(|actor| format!("{actor:?}").chars().take(300).collect()).collect();
        self.env.ledger.violation(format!("not done after {} h: {busy:?}", BUSY_MAX / SECOND / 3600));
    }

    /// Nothing goes wrong any more, and what clients left behind ends.
    fn calm_down(&mut self) {
        self.busy = false;
        self.env.stop_faults();
        self.env.calm = false;
        if self.process.is_none() {
            self.env.after(0, Event::Boot);
        }
        self.go(QUIET, |_| true);
    }

    /// Every client that is still there compares what it believes with what is.
    fn compare(&mut self) {
        for index in 0..self.slots.len() {
            self.with_actor(index, |actor, cx| {
                if let Actor::Imap(client) = actor {
                    client.finish(cx);
                }
            });
        }
        let unfinished =
            |slot: &Slot| matches!(&slot.actor, Some(Actor::Imap(client)) if !client.is_finished());
        if !self.go(CHECK_MAX, |world| world.slots.iter().any(unfinished)) {
            self.env.ledger.violation("a client could not compare what it believes".into());
        }
        self.go(10 * SECOND, |_| true);
    }

    /// The last life before the judgement ends.
    fn last_end(&mut self) {
        if !self.env.ledger.violations.is_empty() {
            return;
        }
        if self.scenario.ends_with_power_cut {
            self.cut_power(3_000);
        } else {
            let process = self.process.take();
            self.end_process(process);
            self.env.after(SECOND, Event::Boot);
        }
        self.go(10 * SECOND, |world| world.process.is_none());
    }

    fn judge(&mut self) {
        let first = self.slots.len();
        for account in 0..ACCOUNTS.len() {
            let rng = Rng::fork(self.scenario.seed, 50 + account as u64);
            let actor = Some(Actor::Judge(Box::new(Judge::new(account))));
            self.slots.push(Slot { actor, rng, piece: 0, link: None, wakes: 0 });
            self.wake_after(first + account, SECOND);
        }
        let judging = |world: &World| {
            world.slots[first..].iter().any(|slot| slot.actor.as_ref().is_some_and(|actor| !actor.is_done()))
        };
        if !self.go(CHECK_MAX, judging) {
            self.env.ledger.violation("the judges cannot see everything".into());
        }
    }

    /// Timers run out; then nothing may be left.
    fn end(mut self) -> Report {
        self.go(TIMERS_MAX, |world| world.process.as_ref().is_some_and(|process| process.connections() > 0));
        self.go(QUIET, |_| true);
        if self.env.ledger.violations.is_empty()
            && let Some(process) = &self.process
        {
            let (open, connections) = (process.descriptors.len(), process.connections());
            if connections > 0 {
                self.env.ledger.violation(format!("{connections} connections have outlived all timers"));
            } else if !process.is_idle() {
                self.env.ledger.violation("the office never comes to an end".into());
            } else if open > 0 {
                self.env.ledger.violation(format!("{open} descriptors are open, and nobody uses them"));
            }
        }
        let Env { ledger, trace, ops, now, life, .. } = self.env;
        let last = trace.last().map(str::to_owned).collect();
        Report {
            violations: ledger.violations,
            hash: trace.hash(),
            steps: trace.steps,
            ops,
            micros: now,
            lives: life,
            post: ledger.post.tally,
            last,
        }
    }

    /// In a world where nothing went wrong, nothing stays in `tmp/`, and no lock.
    fn look_for_debris(&mut self) {
        let killed = |item: &crate::scenario::FaultItem| {
            matches!(
                item.fault,
                Fault::PowerCut { .. } | Fault::Kill { .. } | Fault::Errors { .. } | Fault::Restart { .. }
            )
        };
        let locks = self.scenario.actors.iter().any(|plan| matches!(plan.role, Role::Dovecot(_)));
        if locks || self.scenario.faults.iter().any(killed) {
            return;
        }
        let mut debris = Vec::new();
        for name in ACCOUNTS {
            let root = format!("mail/{name}");
            let subs = self.env.disk.names(&root).into_iter().filter(|name| name.starts_with('.'));
            let boxes: Vec<String> = subs.map(|sub| format!("{root}/{sub}")).chain([root.clone()]).collect();
            for dir in boxes {
                debris.extend(
                    self.env
                        .disk
                        .names(&format!("{dir}/tmp"))
                        .into_iter()
                        .map(|name| format!("{dir}/tmp/{name}")),
                );
                let locks = self.env.disk.names(&dir).into_iter().filter(|name| name.ends_with(".lock"));
                debris.extend(locks.map(|name| format!("{dir}/{name}")));
            }
        }
        if !debris.is_empty() {
            self.env.ledger.violation(format!("left over, though nothing went wrong: {debris:?}"));
        }
    }
}
