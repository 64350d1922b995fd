//! What happens in a world: made from the seed, in items that can be left out.
//!
//! Every step of an actor and every fault is an item with a number. A step brings its own chances (`dice`), so that
//! leaving one out changes the others as little as possible: that is what makes a failure shrink.

mod habit;

use std::collections::BTreeSet;

pub use self::habit::Habit;
use crate::rng::Rng;

/// The accounts of the site; their passwords are `pw-` and the name.
pub const ACCOUNTS: [&str; 2] = ["you", "friend"];
/// In worlds that send: who writes to others, and whom nobody but notices writes to.
pub const WRITER: &str = "writer";
/// In worlds that send: aliases of addresses elsewhere.
pub const AFAR: [(&str, &str); 2] = [("afar", "ok.pal@d0.test"), ("gone", "no.pal@d1.test")];
/// After so many seconds the queue gives a mail up.
pub const LIFETIME_SECS: u64 = 12 * 3600;
/// One world in so many sends.
const SENDING: u64 = 4;
/// The domain of the site.
pub const DOMAIN: &str = "example.test";
/// Mailboxes that every actor uses and nobody deletes.
pub const SHARED: [&str; 3] = ["INBOX", "Archive", "Sent"];

/// How the world is set.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Event loops.
    pub fronts: usize,
    /// Store tasks that run at the same time.
    pub workers: usize,
    /// Directories can be watched.
    pub watches: bool,
    /// A file operation takes up to so many microseconds.
    pub op_micros: u64,
    /// A sync takes up to so many microseconds.
    pub sync_micros: u64,
    /// The disk keeps files' octets ahead of their names.
    pub keeps_order: bool,
    /// The network takes up to so many microseconds.
    pub latency_micros: u64,
    /// What the kernel buffers for a client that does not read, in octets.
    pub window: usize,
    /// Descriptors of the process.
    pub descriptors: usize,
    /// A restarted server has the process number it had before, as in a container.
    pub same_pid: bool,
}

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// Odd case, literals where strings would do, several commands at once.
    pub sloppy: bool,
    /// TLS from the first octet; else STARTTLS.
    pub implicit_tls: bool,
    /// How its octets are cut: 0 not at all, else pieces of up to so many octets.
    pub piece: usize,
}

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends mail from outside.
    Smtp(Manner),
    /// Sends mail with a login.
    Submission(usize, Manner),
    /// Sends mail to so many domains elsewhere: with a login, or from outside to aliases.
    Writer {
        /// With a login.
        inside: bool,
        /// How many domains there are.
        domains: usize,
        /// How it behaves.
        manner: Manner,
    },
    /// Reads and changes mailboxes of an account.
    Imap(usize, Manner, Habit),
    /// Does what no client does.
    Hostile(Manner),
    /// Delivers into a Maildir by itself.
    Procmail(usize),
    /// Flags and deletes by renaming and removing files.
    Mutt(usize),
    /// Gives UIDs under the lock.
    Dovecot(usize),
}

/// What an IMAP client does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the commands of IMAP")]
pub enum ImapStep {
    Select,
    Examine,
    Noop,
    Idle,
    Fetch,
    FetchBody,
    Store,
    Copy,
    Move,
    Expunge,
    UidExpunge,
    Append,
    Status,
    List,
    Search,
    Create,
    Rename,
    Delete,
    Subscribe,
    Close,
    Check,
    Compare,
    Misc,
    Reconnect,
}

/// A step of an actor.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Its number in the scenario.
    pub item: usize,
    /// The chances of this step.
    pub dice: u64,
    /// How long the actor waits before it, in milliseconds.
    pub pause_ms: u64,
    /// What an IMAP client does; other actors have one kind of step.
    pub imap: ImapStep,
}

/// An actor and what it will do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who it is.
    pub role: Role,
    /// What it does, in order.
    pub steps: Vec<Step>,
}

/// Which file operations a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// Whatever needs room: create, write, link, mkdir.
    Room,
    /// fsync of files and directories.
    Sync,
    /// Opening.
    Open,
    /// Everything but closing.
    Any,
}

/// Something bad that happens.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The power goes at this file operation.
    PowerCut {
        /// The file operation, counted from the start of the world.
        at_op: u64,
        /// How long the machine is off, in milliseconds.
        down_ms: u64,
    },
    /// kill -9 at this file operation.
    Kill {
        /// The file operation, counted from the start of the world.
        at_op: u64,
        /// Until the next start, in milliseconds.
        down_ms: u64,
    },
    /// An orderly end and a new start.
    Restart {
        /// When.
        at_ms: u64,
    },
    /// A new configuration.
    Reload {
        /// When.
        at_ms: u64,
    },
    /// File operations fail.
    Errors {
        /// From this file operation on, counted from the start of the world.
        at_op: u64,
        /// How many fail.
        count: u64,
        /// Which.
        hit: Hit,
        /// How, as an index.
        errno: usize,
    },
    /// Every operation takes this long for a while.
    SlowDisk {
        /// When.
        at_ms: u64,
        /// For how long, in milliseconds.
        for_ms: u64,
        /// How long an operation takes, in milliseconds.
        op_ms: u64,
    },
    /// A connection is reset.
    Reset {
        /// When.
        at_ms: u64,
        /// Whose.
        dice: u64,
    },
    /// A client does not read for a while.
    Stall {
        /// When.
        at_ms: u64,
        /// For how long, in milliseconds.
        for_ms: u64,
        /// Who.
        dice: u64,
    },
    /// The wall clock is set.
    ClockStep {
        /// When.
        at_ms: u64,
        /// By how many seconds, forward or back.
        by_s: i64,
    },
}

/// A fault with its number in the scenario.
#[derive(Clone, Copy, Debug)]
pub struct FaultItem {
    /// Its number.
    pub item: usize,
    /// What happens.
    pub fault: Fault,
}

/// The rest of the world.
#[derive(Clone, Copy, Debug)]
pub struct Elsewhere {
    /// Domains.
    pub domains: usize,
    /// How many of 100 connections and queries go wrong.
    pub fault_percent: u64,
}

/// See the module's manual.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Where it comes from.
    pub seed: u64,
    /// How the world is set.
    pub setting: Setting,
    /// Where mail goes, if it is sent.
    pub elsewhere: Option<Elsewhere>,
    /// Who acts.
    pub actors: Vec<Plan>,
    /// What goes wrong.
    pub faults: Vec<FaultItem>,
    /// How the last life before the judgement ends: the power goes.
    pub ends_with_power_cut: bool,
    /// How many items there are, with those that were left out.
    pub items: usize,
}

impl Scenario {
    /// The scenario of a seed, without the items in `dropped`.
    pub fn generate(seed: u64, dropped: &BTreeSet<usize>) -> Scenario {
        let mut maker = Maker { rng: Rng::fork(seed, 0), items: 0 };
        let setting = maker.setting();
        let mut actors = maker.actors();
        let mut faults = maker.faults();
        let ends_with_power_cut = maker.rng.chance(60);
        let elsewhere = (seed % SENDING == SENDING - 1).then(|| {
            // With chances of its own: the other worlds, and the rest of this one, stay as they are.
            maker.rng = Rng::fork(seed, 2);
            maker.writers(&mut actors)
        });
        // So have these.
        let mut habits = Rng::fork(seed, 3);
        for plan in &mut actors {
            if let Role::Imap(_, _, habit) = &mut plan.role {
                *habit = Habit::draw(&mut habits);
            }
            plan.steps.retain(|step| !dropped.contains(&step.item));
        }
        faults.retain(|fault| !dropped.contains(&fault.item));
        Scenario { seed, setting, elsewhere, actors, faults, ends_with_power_cut, items: maker.items }
    }

    /// So many mails to 100 domains, where one connection, query or domain in ten has its faults.
    pub fn post_office(seed: u64, mails: usize) -> Scenario {
        const WRITERS: usize = 10;
        let mut maker = Maker { rng: Rng::fork(seed, 2), items: 0 };
        let elsewhere = Elsewhere { domains: 100, fault_percent: 10 };
        let setting = Setting {
            fronts: 2,
            workers: 6,
            watches: true,
            op_micros: 20,
            sync_micros: 100,
            keeps_order: seed.is_multiple_of(2),
            latency_micros: 1_000,
            window: 64_000,
            descriptors: 1000,
            same_pid: false,
        };
        let plan = |n: usize| {
            let role = Role::Writer {
                inside: true,
                domains: elsewhere.domains,
                manner: Manner { sloppy: n.is_multiple_of(2), implicit_tls: n.is_multiple_of(3), piece: 0 },
            };
            let count = (mails + n) / WRITERS;
            let step =
                |_| Step { item: maker.item(), dice: maker.rng.bits(), pause_ms: 1, imap: ImapStep::Noop };
            Plan { role, steps: (0..count).map(step).collect() }
        };
        let actors = (0..WRITERS).map(plan).collect();
        Scenario {
            seed,
            setting,
            elsewhere: Some(elsewhere),
            actors,
            faults: Vec::new(),
            ends_with_power_cut: true,
            items: maker.items,
        }
    }

    /// Nothing goes wrong: nothing may fail.
    pub fn is_calm(&self) -> bool {
        let locks = |plan: &Plan| matches!(plan.role, Role::Dovecot(_)) && !plan.steps.is_empty();
        !self.actors.iter().any(locks)
            && self.faults.iter().all(|item| {
                matches!(item.fault, Fault::Reload { .. } | Fault::Stall { .. } | Fault::ClockStep { .. })
            })
    }
}

struct Maker {
    rng: Rng,
    items: usize,
}

impl Maker {
    fn setting(&mut self) -> Setting {
        let rng = &mut self.rng;
        Setting {
            fronts: 1 + rng.index(2),
            workers: 1 + rng.index(6),
            watches: rng.chance(80),
            op_micros: *rng.pick(&[20, 200, 2_000]),
            sync_micros: *rng.pick(&[100, 5_000, 50_000]),
            keeps_order: rng.chance(50),
            latency_micros: *rng.pick(&[100, 1_000, 60_000]),
            window: *rng.pick(&[300, 4_000, 64_000]),
            descriptors: *rng.pick(&[60, 300, 1000]),
            same_pid: rng.chance(50),
        }
    }

    fn manner(&mut self) -> Manner {
        Manner {
            sloppy: self.rng.chance(40),
            implicit_tls: self.rng.chance(50),
            piece: *self.rng.pick(&[0, 0, 1460, 100, 7]),
        }
    }

    fn actors(&mut self) -> Vec<Plan> {
        let mut actors = Vec::new();
        let accounts = ACCOUNTS.len();
        // Most of the time one account is busy, for that is where things meet.
        let account = |rng: &mut Rng| if rng.chance(75) { 0 } else { rng.index(accounts) };
        for _ in 0..self.rng.between(1, 4) {
            let (account, manner) = (account(&mut self.rng), self.manner());
            actors.push(self.plan(Role::Imap(account, manner, Habit::Plain), 4, 26));
        }
        for _ in 0..self.rng.below(3) {
            let manner = self.manner();
            actors.push(self.plan(Role::Smtp(manner), 1, 7));
        }
        if self.rng.chance(30) {
            let (account, manner) = (account(&mut self.rng), self.manner());
            actors.push(self.plan(Role::Submission(account, manner), 1, 5));
        }
        if self.rng.chance(35) {
            let manner = self.manner();
            actors.push(self.plan(Role::Hostile(manner), 1, 4));
        }
        for role in [Role::Procmail as fn(usize) -> Role, Role::Mutt, Role::Dovecot] {
            if self.rng.chance(35) {
                let account = account(&mut self.rng);
                actors.push(self.plan(role(account), 1, 9));
            }
        }
        actors
    }

    fn writers(&mut self, actors: &mut Vec<Plan>) -> Elsewhere {
        let domains = 2 + self.rng.index(7);
        let fault_percent = *self.rng.pick(&[0, 10, 30]);
        for _ in 0..self.rng.between(1, 4) {
            let (inside, manner) = (self.rng.chance(75), self.manner());
            actors.push(self.plan(Role::Writer { inside, domains, manner }, 1, 7));
        }
        Elsewhere { domains, fault_percent }
    }

    fn plan(&mut self, role: Role, least: u64, most: u64) -> Plan {
        let count = self.rng.between(least, most);
        let hasty = self.rng.chance(50);
        let steps = (0..count).map(|index| {
            let pause_ms = if hasty { self.rng.magnitude(8) } else { self.rng.magnitude(14) };
            let imap = if index == 0 { ImapStep::Select } else { imap_step(&mut self.rng) };
            Step { item: self.item(), dice: self.rng.bits(), pause_ms, imap }
        });
        Plan { role, steps: steps.collect() }
    }

    fn item(&mut self) -> usize {
        self.items += 1;
        self.items - 1
    }

    fn faults(&mut self) -> Vec<FaultItem> {
        // A third of the worlds are calm: there nothing at all may fail.
        let count = if self.rng.chance(33) { 0 } else { self.rng.between(1, 6) };
        (0..count).map(|_| FaultItem { fault: self.fault(), item: self.item() }).collect()
    }

    fn fault(&mut self) -> Fault {
        let rng = &mut self.rng;
        let at_op = rng.magnitude(11);
        let at_ms = rng.magnitude(17);
        let down_ms = rng.magnitude(15);
        match rng.below(20) {
            0..5 => Fault::PowerCut { at_op, down_ms },
            5..8 => Fault::Kill { at_op, down_ms },
            8 => Fault::Restart { at_ms },
            9 => Fault::Reload { at_ms },
            10..14 => {
                let hit = *rng.pick(&[Hit::Room, Hit::Sync, Hit::Open, Hit::Any]);
                let count = *rng.pick(&[1, 1, 3, 20, 100]);
                Fault::Errors { at_op, count, hit, errno: rng.index(6) }
            }
            14 => Fault::SlowDisk { at_ms, for_ms: rng.magnitude(16), op_ms: rng.magnitude(12) },
            15..18 => Fault::Reset { at_ms, dice: rng.bits() },
            18 => Fault::Stall { at_ms, for_ms: rng.magnitude(16), dice: rng.bits() },
            _ => {
                let by_s = i64::try_from(rng.magnitude(18)).unwrap_or(0);
                Fault::ClockStep { at_ms, by_s: if rng.chance(50) { by_s } else { -by_s } }
            }
        }
    }
}

fn imap_step(rng: &mut Rng) -> ImapStep {
    use ImapStep::*;
    let steps = [
        (8, Select),
        (2, Examine),
        (8, Noop),
        (5, Idle),
        (6, Fetch),
        (5, FetchBody),
        (14, Store),
        (8, Copy),
        (8, Move),
        (4, Expunge),
        (5, UidExpunge),
        (10, Append),
        (4, Status),
        (2, List),
        (3, Search),
        (3, Create),
        (2, Rename),
        (2, Delete),
        (2, Subscribe),
        (2, Close),
        (1, Check),
        (5, Compare),
        (2, Misc),
        (2, Reconnect),
    ];
    let total = steps.iter().map(|(weight, _)| weight).sum();
    let mut at = rng.below(total);
    for (weight, step) in steps {
        match at.checked_sub(weight) {
            Some(rest) => at = rest,
            None => return step,
        }
    }
    Noop
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_an_item_out_leaves_the_others_as_they_were() {
        let whole = Scenario::generate(5, &BTreeSet::new());
        let dropped = [whole.actors[0].steps[1].item].into();
        let less = Scenario::generate(5, &dropped);
        assert_eq!(whole.items, less.items);
        assert_eq!(whole.actors[0].steps.len(), less.actors[0].steps.len() + 1);
        assert_eq!(whole.actors[0].steps[2].dice, less.actors[0].steps[1].dice);
        assert_eq!(whole.faults.len(), less.faults.len());
    }
}
