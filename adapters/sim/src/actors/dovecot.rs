//! Another server on the same Maildir: takes the uidlist lock, gives UIDs to new files, appends to the list or writes
//! it anew, and gives the lock back; now and then it is slow, or dies with the lock in its hand.

use std::collections::VecDeque;

use super::programs::directory;
use super::{Acts, Cx};
use crate::rng::Rng;
use crate::scenario::{SHARED, Step};

/// See the module's manual.
#[derive(Debug)]
pub struct Dovecot {
    pid: u32,
    account: usize,
    steps: VecDeque<Step>,
    /// The directory whose lock it holds, and what it is going to write.
    holds: Option<(String, Option<Work>)>,
    /// Attempts at the lock of this step.
    tries: u32,
}

impl Dovecot {
    /// One that works on a mailbox at each step.
    pub fn new(index: usize, account: usize, steps: VecDeque<Step>) -> Self {
        Dovecot { pid: 6000 + index as u32, account, steps, holds: None, tries: 0 }
    }

    fn take_lock(&mut self, cx: &mut Cx<'_>) {
        let Some(step) = self.steps.front() else { return };
        let mut rng = Rng::new(step.dice);
        let dir = directory(self.account, SHARED[rng.index(SHARED.len())]);
        let lock = format!("{dir}/dovecot-uidlist.lock");
        let content = format!("{}:mx", self.pid);
        self.tries += 1;
        if cx.env.disk.is_dir(&format!("{dir}/cur")) && cx.env.disk.create(&lock, content.as_bytes()).is_ok()
        {
            cx.note(|| format!("dovecot: takes {lock}"));
            cx.env.alive.push(self.pid);
            let work = self.plan(&dir, cx);
            self.holds = Some((dir, work));
            // Most of the time it is quick.
            let held_ms = if rng.chance(85) { rng.below(50) } else { rng.below(20_000) };
            return cx.wake_ms(held_ms);
        }
        if self.tries < 20 {
            return cx.wake_ms(200);
        }
        self.next_step(cx);
    }

    /// Reads what is there, and decides what to write: the list, what to add, and what the whole file would be.
    fn plan(&self, dir: &str, cx: &mut Cx<'_>) -> Option<Work> {
        let list = format!("{dir}/dovecot-uidlist");
        let old = cx.env.disk.contents(&list)?.to_vec();
        let parsed = List::parse(&old)?;
        let files = ["cur", "new"].map(|part| cx.env.disk.names(&format!("{dir}/{part}"))).concat();
        let base = |name: &String| name.split(':').next().unwrap_or_default().to_owned();
        let mut bases: Vec<String> = files.iter().map(base).collect();
        bases.sort();
        bases.dedup();
        let mut next = parsed.next;
        let mut added = String::new();
        for base in bases.iter().filter(|base| !parsed.records.iter().any(|(_, known)| known == *base)) {
            added.push_str(&format!("{next} :{base}\n"));
            next += 1;
        }
        let kept = parsed.records.iter().filter(|(_, base)| bases.contains(base));
        let kept: String = kept.map(|(uid, base)| format!("{uid} :{base}\n")).collect();
        let whole = format!("{}{kept}{added}", parsed.header(next));
        Some(Work { list, added, whole, torn: !old.ends_with(b"\n") })
    }

    /// Writes it, some time later: the lock has kept everybody else away.
    fn write(&self, work: &Work, step: Step, cx: &mut Cx<'_>) {
        let Work { list, added, whole, torn } = work;
        let mut rng = Rng::new(step.dice ^ 1);
        cx.note(|| format!("dovecot: adds {added:?} to {list}"));
        if *torn || rng.chance(30) {
            let temporary = format!("{list}.tmp");
            let _ = cx.env.disk.remove(&temporary);
            let _ = cx.env.disk.create(&temporary, whole.as_bytes());
            // Dovecot always syncs the new file before it renames it.
            cx.env.disk.sync(&temporary);
            let _ = cx.env.disk.move_file(&temporary, list);
        } else if !added.is_empty() {
            let _ = cx.env.disk.append_to(list, added.as_bytes());
            if rng.chance(50) {
                cx.env.disk.sync(list);
            }
        }
    }

    fn next_step(&mut self, cx: &mut Cx<'_>) {
        self.steps.pop_front();
        self.tries = 0;
        if let Some(step) = self.steps.front() {
            cx.wake_ms(step.pause_ms);
        }
    }
}

impl Acts for Dovecot {
    fn wake(&mut self, cx: &mut Cx<'_>) {
        let Some((dir, work)) = self.holds.take() else { return self.take_lock(cx) };
        let lock = format!("{dir}/dovecot-uidlist.lock");
        // Somebody may have thought it dead: then the lock is not its own any more.
        let own = cx.env.disk.contents(&lock) == Some(format!("{}:mx", self.pid).as_bytes());
        if own && let (Some(work), Some(step)) = (work, self.steps.front()) {
            self.write(&work, *step, cx);
        }
        cx.env.alive.retain(|pid| *pid != self.pid);
        let dies = self.steps.front().is_some_and(|step| step.dice % 100 < 8);
        cx.note(|| format!("dovecot: lets {lock} go, own: {own}, dies: {dies}"));
        if own && !dies {
            let _ = cx.env.disk.remove(&lock);
        }
        if dies {
            self.pid += 1000;
        }
        self.next_step(cx);
    }

    fn power_cut(&mut self, cx: &mut Cx<'_>) {
        cx.env.alive.retain(|pid| *pid != self.pid);
        self.holds = None;
        self.pid += 1000;
        cx.wake_ms(1000);
    }

    fn is_done(&self) -> bool {
        self.steps.is_empty() && self.holds.is_none()
    }
}

/// What it is going to write.
#[derive(Debug)]
struct Work {
    list: String,
    added: String,
    whole: String,
    torn: bool,
}

/// A uidlist as this Dovecot reads it.
struct List {
    validity: String,
    next: u32,
    guid: String,
    others: String,
    records: Vec<(u32, String)>,
}

impl List {
    /// `None` if it is not whole: then Dovecot would number everything anew, which nobody could tell from a bug.
    fn parse(list: &[u8]) -> Option<List> {
        let text = std::str::from_utf8(list).ok()?;
        let (first, rest) = text.split_once('\n')?;
        let mut list = List {
            validity: String::new(),
            next: 0,
            guid: String::new(),
            others: String::new(),
            records: Vec::new(),
        };
        for word in first.strip_prefix("3 ")?.split(' ') {
            match word.split_at_checked(1)? {
                ("V", value) => list.validity = value.into(),
                ("N", value) => list.next = value.parse().ok()?,
                ("G", value) => list.guid = value.into(),
                _ => list.others.push_str(&format!(" {word}")),
            }
        }
        for line in rest.split_inclusive('\n') {
            // A record without its end is no record.
            let Some(line) = line.strip_suffix('\n') else { break };
            let (head, base) = line.split_once(" :")?;
            let uid = head.split(' ').next()?.parse().ok()?;
            if list.records.last().is_some_and(|(last, _)| *last >= uid) {
                return None;
            }
            list.records.push((uid, base.to_owned()));
            list.next = list.next.max(uid + 1);
        }
        (!list.validity.is_empty() && list.next > 0).then_some(list)
    }

    fn header(&self, next: u32) -> String {
        format!("3 V{} N{next} G{}{}\n", self.validity, self.guid, self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_and_a_torn_one_is_left_alone() {
        let text = "3 V7 N3 Gabc M12\n1 :a,S=1\n5 :b\n";
        let list = List::parse(text.as_bytes()).unwrap();
        assert_eq!((list.next, list.records.len()), (6, 2));
        assert_eq!(list.header(6), "3 V7 N6 Gabc M12\n");
        assert_eq!(List::parse(b"3 V7 N3 Gabc\n1 :a\n2 :b").unwrap().records.len(), 1);
        assert!(List::parse(b"3 V7 N3 Gabc\n2 :a\n1 :b\n").is_none());
        assert!(List::parse(b"\0\0\0").is_none());
    }
}
