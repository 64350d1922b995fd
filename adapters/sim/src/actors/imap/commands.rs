//! What a client says: each step becomes a command, and the ledger hears of it first.

use std::collections::BTreeSet;

use super::super::{Cx, Wish};
use super::{Changing, Command, Doing, ImapClient, PATIENCE, Selected, chances, set};
use crate::imap::model::{Known, Model};
use crate::ledger::{FLAGS, FlagBits, Place, Presence};
use crate::message::Token;
use crate::rng::Rng;
use crate::scenario::{ACCOUNTS, DOMAIN, ImapStep, SHARED, Step};

/// What tells a message's identity.
const LEARN: &str = "(UID FLAGS BODY.PEEK[HEADER.FIELDS (X-SIM)])";

impl ImapClient {
    pub(super) fn log_in(&mut self, cx: &mut Cx<'_>) {
        let name = ACCOUNTS[self.account];
        self.say(&format!("LOGIN {name}@{DOMAIN} pw-{name}"), Doing::Login, cx);
    }

    /// Sends a command.
    pub(super) fn say(&mut self, text: &str, doing: Doing, cx: &mut Cx<'_>) {
        let whole = format!("{text}\r\n").into_bytes();
        self.say_parts(vec![whole], doing, cx);
    }

    pub(super) fn next_tag(&self) -> String {
        format!("{}.{}", self.index, self.tags + 1)
    }

    /// Sends a command whose parts each wait for `+`.
    fn say_parts(&mut self, mut parts: Vec<Vec<u8>>, doing: Doing, cx: &mut Cx<'_>) {
        let tag = self.next_tag();
        self.tags += 1;
        if let Some(selected) = self.selected.as_mut().filter(|_| self.asked.is_empty()) {
            selected.model.start_command();
        }
        let first = parts.remove(0);
        let text = String::from_utf8_lossy(&first).into_owned();
        let mut words = text.split(' ').map(str::trim_end);
        let (one, two) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let by_uid = one.eq_ignore_ascii_case("UID");
        let verb = if by_uid { two } else { one };
        let sets = ["FETCH", "STORE", "SEARCH"].iter().any(|name| name.eq_ignore_ascii_case(verb));
        let verbs = [
            "UID", "FETCH", "STORE", "SEARCH", "COPY", "MOVE", "APPEND", "SELECT", "IDLE", "EXPUNGE", "LOGIN",
        ];
        let verb = verbs.into_iter().find(|name| name.eq_ignore_ascii_case(verb)).unwrap_or("command");
        let command = Command {
            tag: tag.clone(),
            doing,
            verb,
            sent_at: cx.env.now,
            life: cx.env.life,
            hides_expunges: sets && !by_uid,
            by_uid,
            silent: text.contains(".SILENT"),
        };
        self.asked.push_back(command);
        cx.send(format!("{tag} {text}").as_bytes());
        self.parts.extend(parts);
        cx.wishes.push(Wish::Wake(PATIENCE));
    }

    /// The next part of a command, after `+`.
    pub(super) fn say_more(&mut self, cx: &mut Cx<'_>) -> bool {
        match self.parts.pop_front() {
            Some(part) => {
                cx.send(&part);
                true
            }
            None => false,
        }
    }

    /// One step, or for a sloppy client some that do not depend on each other.
    pub(super) fn next_steps(&mut self, cx: &mut Cx<'_>) {
        let Some(step) = self.steps.pop_front() else { return };
        self.start_step(step, cx);
        while self.manner.sloppy
            && self.parts.is_empty()
            && self.asked.len() < 4
            && self.asked.back().is_some_and(|c| may_follow(&c.doing))
        {
            let next = self.steps.front().filter(|step| goes_along(step.imap));
            let Some(next) = next.copied() else { break };
            self.steps.pop_front();
            self.start_step(next, cx);
        }
        if self.asked.is_empty() {
            self.go_on(cx);
        }
    }

    fn start_step(&mut self, step: Step, cx: &mut Cx<'_>) {
        if self.habitual_step(step, cx) {
            return;
        }
        let mut rng = chances(step);
        let rng = &mut rng;
        match step.imap {
            ImapStep::Select => self.select(false, rng, cx),
            ImapStep::Examine => self.select(true, rng, cx),
            ImapStep::Noop => self.say(self.word("NOOP", rng), Doing::Plain, cx),
            ImapStep::Check if self.selected.is_some() => self.say("CHECK", Doing::Plain, cx),
            ImapStep::Idle => self.idle(rng.magnitude(15), cx),
            ImapStep::Fetch => self.fetch(rng, cx),
            ImapStep::FetchBody => self.fetch_body(rng, cx),
            ImapStep::Store => self.store(rng, cx),
            ImapStep::Copy => self.copy(false, rng, cx),
            ImapStep::Move => self.copy(true, rng, cx),
            ImapStep::Expunge => self.expunge(cx),
            ImapStep::UidExpunge => self.uid_expunge(rng, cx),
            ImapStep::Append => self.append(rng, cx),
            ImapStep::Status => self.status(rng, cx),
            ImapStep::List => self.list(rng, cx),
            ImapStep::Search => self.search(rng, cx),
            ImapStep::Create => self.create(rng, cx),
            ImapStep::Rename => self.rename(cx),
            ImapStep::Delete => self.delete(cx),
            ImapStep::Subscribe => self.subscribe(rng, cx),
            ImapStep::Close => self.close(rng, cx),
            ImapStep::Compare if self.selected.is_some() => self.compare(false, cx),
            ImapStep::Misc => {
                let text = *rng.pick(&[
                    "CAPABILITY",
                    "NAMESPACE",
                    "ID NIL",
                    "ID (\"name\" \"sim\")",
                    "ENABLE X-NOTHING",
                ]);
                self.say(text, Doing::Plain, cx);
            }
            ImapStep::Reconnect => {
                cx.wishes.push(Wish::Leave);
                self.lost(cx);
            }
            ImapStep::Check | ImapStep::Compare => {}
        }
    }

    /// A word in the case a sloppy client likes.
    fn word(&self, word: &'static str, rng: &mut Rng) -> &'static str {
        match word {
            "NOOP" if self.manner.sloppy && rng.chance(50) => "nOoP",
            word => word,
        }
    }

    /// The name of a mailbox as an argument: an atom, a string or a literal; the parts of the command so far.
    fn named(&self, before: &str, folder: &str, after: &str, rng: &mut Rng) -> Vec<Vec<u8>> {
        let style = if self.manner.sloppy { rng.below(4) } else { 0 };
        let after = format!("{after}\r\n");
        match style {
            1 => vec![format!("{before} \"{folder}\"{after}").into_bytes()],
            2 => vec![format!("{before} {{{}+}}\r\n{folder}{after}", folder.len()).into_bytes()],
            3 => vec![
                format!("{before} {{{}}}\r\n", folder.len()).into_bytes(),
                format!("{folder}{after}").into_bytes(),
            ],
            _ => vec![format!("{before} {folder}{after}").into_bytes()],
        }
    }

    fn shared(&self, rng: &mut Rng) -> Place {
        let folder = if rng.chance(60) { SHARED[0] } else { *rng.pick(&SHARED) };
        Place { account: self.account, folder: folder.into() }
    }

    /// A mailbox that everybody uses, or one of its own.
    fn any_place(&self, rng: &mut Rng) -> Place {
        if !self.own.is_empty() && rng.chance(25) { rng.pick(&self.own).clone() } else { self.shared(rng) }
    }

    fn select(&mut self, examine: bool, rng: &mut Rng, cx: &mut Cx<'_>) {
        let place = self.any_place(rng);
        self.select_place(place, examine, rng, cx);
    }

    pub(super) fn select_place(&mut self, place: Place, examine: bool, rng: &mut Rng, cx: &mut Cx<'_>) {
        self.leave_selected(cx);
        let folder = cx.env.ledger.folder(&place);
        let (uid_next, modseq) = (folder.uid_next_shown, folder.modseq_shown);
        let verb = if examine { "EXAMINE" } else { "SELECT" };
        let (parameters, resync) = self.select_parameters(&place, rng);
        let parts = self.named(verb, &place.folder, &parameters, rng);
        let selected = Selected {
            place,
            read_only: examine,
            model: Model::default(),
            uid_next,
            modseq,
            since: cx.env.now,
            validity: None,
            first_highest: 0,
            learned: false,
            resync,
            vanished: BTreeSet::new(),
            kept: None,
            wants_a_result: self.tags.is_multiple_of(3),
        };
        self.say_parts(parts, Doing::Select(Box::new(selected)), cx);
    }

    pub(super) fn learn(&mut self, cx: &mut Cx<'_>) {
        let Some(selected) = &mut self.selected else { return };
        let unknown = |known: &Known| known.token.is_none() && !known.asked;
        let first = selected.model.messages.iter().position(unknown).unwrap_or(0);
        // What has no token is nobody's message: the judge will say so.
        selected.model.messages.iter_mut().for_each(|known| known.asked = true);
        let text = if self.enabled.uid_only {
            let known = selected.model.messages.iter().filter(|known| known.token.is_some());
            let last = known.filter_map(|known| known.uid).max().unwrap_or(0);
            format!("UID FETCH {}:* {LEARN}", last + 1)
        } else {
            format!("FETCH {}:{} {LEARN}", first + 1, selected.model.messages.len())
        };
        self.say(&text, Doing::Learn, cx);
    }

    pub(super) fn idle(&mut self, millis: u64, cx: &mut Cx<'_>) {
        self.say("IDLE", Doing::Idle, cx);
        self.idles_until = Some(cx.env.now + millis * 1000);
        cx.wake_ms(millis);
    }

    pub(super) fn compare(&mut self, strict: bool, cx: &mut Cx<'_>) {
        let empty = self.selected.as_ref().is_none_or(|selected| selected.model.messages.is_empty());
        if empty {
            return self.say("NOOP", Doing::Plain, cx);
        }
        let modseqs = self.habit.uses_modseqs()
            && self.selected.as_ref().is_some_and(|selected| selected.model.highest.is_some());
        let items = if modseqs { "(UID FLAGS MODSEQ)" } else { "(UID FLAGS)" };
        let uid = if self.enabled.uid_only { "UID " } else { "" };
        self.say(&format!("{uid}FETCH 1:* {items}"), Doing::Compare { seen: Vec::new(), strict }, cx);
    }

    /// Some messages that it knows: UIDs and tokens.
    pub(super) fn some(&self, rng: &mut Rng) -> Vec<(u32, Token)> {
        let Some(selected) = &self.selected else { return Vec::new() };
        let mut known: Vec<(u32, Token)> =
            selected.model.messages.iter().filter_map(|known| known.uid.zip(known.token)).collect();
        rng.shuffle(&mut known);
        known.truncate(rng.between(1, 5) as usize);
        known.sort_unstable();
        known
    }

    fn fetch(&mut self, rng: &mut Rng, cx: &mut Cx<'_>) {
        let Some(count) =
            self.selected.as_ref().map(|selected| selected.model.messages.len()).filter(|n| *n > 0)
        else {
            return;
        };
        let items = *rng.pick(&[
            "(UID FLAGS)",
            "ALL",
            "FULL",
            "(UID RFC822.SIZE INTERNALDATE)",
            "(UID ENVELOPE BODYSTRUCTURE)",
            "(UID BODY.PEEK[]<10.100>)",
            "(UID BODY.PEEK[TEXT])",
            "FAST",
        ]);
        let uids = self.some(rng);
        if (rng.chance(50) || self.enabled.uid_only) && !uids.is_empty() {
            return self.say(&format!("UID FETCH {} {items}", set(&uids)), Doing::MayFail, cx);
        }
        if self.asked.is_empty() && !self.enabled.uid_only {
            let first = 1 + rng.index(count);
            let last = first + rng.index(count - first + 1);
            self.say(&format!("FETCH {first}:{last} {items}"), Doing::MayFail, cx);
        }
    }

    fn fetch_body(&mut self, rng: &mut Rng, cx: &mut Cx<'_>) {
        let uids = self.some(rng);
        let Some(selected) = &self.selected else { return };
        if uids.is_empty() {
            return;
        }
        let peek = selected.read_only || rng.chance(50);
        let changes = if peek { Vec::new() } else { self.start_changes(&uids, &[(0, true)], cx) };
        let item = if peek { "BODY.PEEK[]" } else { "BODY[]" };
        self.say(&format!("UID FETCH {} (FLAGS {item})", set(&uids)), Doing::Change(changes), cx);
    }

    pub(super) fn start_changes(
        &self,
        uids: &[(u32, Token)],
        flags: &[(usize, bool)],
        cx: &mut Cx<'_>,
    ) -> Vec<Changing> {
        let Some(selected) = &self.selected else { return Vec::new() };
        let mut changes = Vec::new();
        for (uid, token) in uids {
            for &(index, on) in flags {
                let change = cx.env.ledger.start_change(&selected.place, *token, index, on, cx.env.now);
                changes.push(Changing { change, uid: *uid, token: *token, index, on });
            }
        }
        changes
    }

    fn store(&mut self, rng: &mut Rng, cx: &mut Cx<'_>) {
        let uids = self.some(rng);
        if uids.is_empty() || self.selected.as_ref().is_none_or(|selected| selected.read_only) {
            return;
        }
        let (text, changed) = self.some_flags(rng);
        let changes = self.start_changes(&uids, &changed, cx);
        self.say(&format!("UID STORE {} {text}", set(&uids)), Doing::Change(changes), cx);
    }

    /// Flags as STORE takes them, and what they mean.
    pub(super) fn some_flags(&self, rng: &mut Rng) -> (String, Vec<(usize, bool)>) {
        let mut flags = FlagBits::default();
        for _ in 0..rng.between(1, 3) {
            // \Deleted less often: what is deleted is judged less strictly.
            let index = rng.index(FLAGS.len());
            flags = flags.with(if index == 3 && rng.chance(60) { 2 } else { index });
        }
        let (sign, changed): (&str, Vec<(usize, bool)>) = match rng.below(5) {
            0..3 => ("+", flags.indices().map(|index| (index, true)).collect()),
            3 => ("-", flags.indices().map(|index| (index, false)).collect()),
            _ => ("", (0..FLAGS.len()).map(|index| (index, flags.has(index))).collect()),
        };
        let silent = if rng.chance(30) { ".SILENT" } else { "" };
        (format!("{sign}FLAGS{silent} ({})", flags.names()), changed)
    }

    fn copy(&mut self, moving: bool, rng: &mut Rng, cx: &mut Cx<'_>) {
        let uids = self.some(rng);
        let to = self.any_place(rng);
        let Some(selected) = &self.selected else { return };
        if uids.is_empty() || (moving && (selected.read_only || to == selected.place)) {
            return;
        }
        let from = selected.place.clone();
        for (uid, token) in &uids {
            cx.env.ledger.may_copy(&from, *uid, *token, &to, moving);
        }
        let verb = if moving { "UID MOVE" } else { "UID COPY" };
        let parts = self.named(&format!("{verb} {}", set(&uids)), &to.folder, "", rng);
        self.say_parts(parts, Doing::Copy { uids, to, moving }, cx);
    }

    fn expunge(&mut self, cx: &mut Cx<'_>) {
        let Some(selected) = self.selected.as_ref().filter(|selected| !selected.read_only) else { return };
        let under_way = cx.env.ledger.start_expunge(&selected.place);
        self.say("EXPUNGE", Doing::Expunge(Some(under_way)), cx);
    }

    /// Marks some messages and expunges exactly these.
    fn uid_expunge(&mut self, rng: &mut Rng, cx: &mut Cx<'_>) {
        let uids = self.some(rng);
        let Some(selected) = self.selected.as_ref().filter(|selected| !selected.read_only) else { return };
        if uids.is_empty() {
            return;
        }
        let place = selected.place.clone();
        for (uid, token) in &uids {
            cx.env.ledger.doom(&place, *uid, *token);
        }
        let changes = self.start_changes(&uids, &[(3, true)], cx);
        self.say(&format!("UID STORE {} +FLAGS (\\Deleted)", set(&uids)), Doing::Change(changes), cx);
        self.say(&format!("UID EXPUNGE {}", set(&uids)), Doing::Expunge(None), cx);
    }

    fn append(&mut self, rng: &mut Rng, cx: &mut Cx<'_>) {
        let to = self.any_place(rng);
        let token = Token(rng.bits());
        let mut flags = FlagBits::default();
        for index in [0, 1, 2, 4, 5] {
            if rng.chance(20) {
                flags = flags.with(index);
            }
        }
        cx.env.ledger.may_arrive(&to, token, flags);
        let text = token.text();
        let listed =
            if flags == FlagBits::default() { String::new() } else { format!(" ({})", flags.names()) };
        let date = if rng.chance(30) { " \"01-Feb-2021 03:04:05 +0100\"" } else { "" };
        let plus = rng.chance(50);
        let sign = if plus { "+" } else { "" };
        let head = format!("APPEND {}{listed}{date} {{{}{sign}}}\r\n", to.folder, text.len());
        let rest = [text.as_slice(), b"\r\n"].concat();
        let parts =
            if plus { vec![[head.as_bytes(), &rest].concat()] } else { vec![head.into_bytes(), rest] };
        self.say_parts(parts, Doing::Append { token, to }, cx);
    }

    fn status(&mut self, rng: &mut Rng, cx: &mut Cx<'_>) {
        let place = self.any_place(rng);
        if self.selected.as_ref().is_some_and(|selected| selected.place == place) {
            return;
        }
        let folder = cx.env.ledger.folder(&place);
        let (uid_next, modseq) = (folder.uid_next_shown, folder.modseq_shown);
        let what = *rng.pick(&["UNSEEN", "HIGHESTMODSEQ"]);
        let items = format!(" (MESSAGES UIDNEXT UIDVALIDITY {what})");
        let parts = self.named("STATUS", &place.folder, &items, rng);
        self.say_parts(parts, Doing::Status { place, uid_next, modseq }, cx);
    }

    fn list(&mut self, rng: &mut Rng, cx: &mut Cx<'_>) {
        let text = *rng.pick(&["LIST \"\" \"*\"", "LIST \"\" %", "LSUB \"\" \"*\"", "LIST \"\" \"\""]);
        self.say(text, Doing::Plain, cx);
    }

    fn search(&mut self, rng: &mut Rng, cx: &mut Cx<'_>) {
        if self.selected.is_none() {
            return;
        }
        if rng.chance(60) {
            return self.say("UID SEARCH ALL", Doing::Search(None), cx);
        }
        let what =
            *rng.pick(&["UNSEEN", "FLAGGED NOT DELETED", "SUBJECT 5", "BODY dots", "OR SEEN KEYWORD work"]);
        self.say(&format!("UID SEARCH {what}"), Doing::MayFail, cx);
    }

    fn create(&mut self, rng: &mut Rng, cx: &mut Cx<'_>) {
        self.names += 1;
        let name = match rng.below(3) {
            0 => format!("box{}-{}", self.index, self.names),
            1 => format!("Archive.box{}-{}", self.index, self.names),
            _ => format!("box{}&AOk-{}", self.index, self.names),
        };
        let place = Place { account: self.account, folder: name };
        // It may be there as soon as it is asked for.
        cx.env.ledger.folder(&place).presence = Presence::May;
        let parts = self.named("CREATE", &place.folder, "", rng);
        self.say_parts(parts, Doing::Create(place), cx);
    }

    fn rename(&mut self, cx: &mut Cx<'_>) {
        let Some(from) = self.own.pop() else { return };
        self.names += 1;
        let to = Place { account: self.account, folder: format!("moved{}-{}", self.index, self.names) };
        self.leave(&from, cx);
        cx.env.ledger.folder(&from).presence = Presence::May;
        cx.env.ledger.folder(&to).presence = Presence::May;
        self.say(&format!("RENAME {} {}", from.folder, to.folder), Doing::Rename(from, to), cx);
    }

    fn delete(&mut self, cx: &mut Cx<'_>) {
        if self.own.is_empty() {
            return;
        }
        let place = self.own.remove(0);
        self.leave(&place, cx);
        cx.env.ledger.give_up(&place);
        self.say(&format!("DELETE {}", place.folder), Doing::Delete(place), cx);
    }

    /// A mailbox that goes away is not selected any more.
    fn leave(&mut self, place: &Place, cx: &Cx<'_>) {
        if self.selected.as_ref().is_some_and(|selected| selected.place == *place) {
            self.leave_selected(cx);
        }
        self.remembered.remove(place);
    }

    fn subscribe(&mut self, rng: &mut Rng, cx: &mut Cx<'_>) {
        let Some(place) = self.own.last().cloned() else { return };
        let on = rng.chance(60);
        cx.env.ledger.subscription(&place, Presence::May);
        let verb = if on { "SUBSCRIBE" } else { "UNSUBSCRIBE" };
        self.say(&format!("{verb} {}", place.folder), Doing::Subscribe(place, on), cx);
    }

    fn close(&mut self, rng: &mut Rng, cx: &mut Cx<'_>) {
        let Some(selected) = &self.selected else { return };
        let (place, read_only) = (selected.place.clone(), selected.read_only);
        self.leave_selected(cx);
        if rng.chance(50) {
            let under_way = (!read_only).then(|| cx.env.ledger.start_expunge(&place));
            self.say("CLOSE", Doing::Expunge(under_way), cx);
        } else {
            self.say("UNSELECT", Doing::Plain, cx);
        }
    }
}

/// Whether another command may be sent behind this one before its answer is there.
fn may_follow(doing: &Doing) -> bool {
    matches!(
        doing,
        Doing::Plain | Doing::MayFail | Doing::Change(_) | Doing::Copy { .. } | Doing::Status { .. }
    )
}

/// Whether this step can go along with others: it names messages by UID and needs no `+`.
fn goes_along(step: ImapStep) -> bool {
    matches!(step, ImapStep::Noop | ImapStep::FetchBody | ImapStep::Store | ImapStep::List | ImapStep::Misc)
}
