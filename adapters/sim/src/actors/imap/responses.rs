//! What a client hears: its model follows, and the ledger hears what was promised and shown.

use super::super::{Cx, Wish};
use super::{Changing, Command, Doing, ImapClient, Selected, Shown};
use crate::imap::model::bits;
use crate::imap::response::{Code, Fetched, Response, Status, Untagged};
use crate::ledger::{Place, Presence, When};
use crate::message::Token;
use crate::network::Packet;

impl ImapClient {
    pub(super) fn handle(&mut self, response: Response, cx: &mut Cx<'_>) {
        match response {
            Response::Continue => {
                let idles = matches!(self.asked.front().map(|command| &command.doing), Some(Doing::Idle));
                if !idles && !self.say_more(cx) {
                    self.complain("a continuation that nobody waits for", cx);
                }
            }
            Response::Tagged(tag, status, code) => self.tagged(&tag, status, code, cx),
            Response::Untagged(untagged) => self.untagged(untagged, cx),
        }
    }

    fn untagged(&mut self, untagged: Untagged, cx: &mut Cx<'_>) {
        match untagged {
            Untagged::Status(Status::Bye, _) => {}
            Untagged::Status(status, code) => {
                if !self.greeted {
                    self.greeted = true;
                    if status != Status::Ok {
                        return;
                    }
                    if self.tls {
                        self.log_in(cx)
                    } else {
                        self.say("STARTTLS", Doing::StartTls, cx)
                    }
                    return;
                }
                if code == Some(Code::Other("NOUPDATE".into())) {
                    return self.result_given_up(cx);
                }
                self.shown(code, cx);
            }
            Untagged::Exists(count) => self.on_model(cx, |selected, _| selected.exists(count)),
            Untagged::Expunge(number) => self.expunged(number, cx),
            Untagged::Vanished { earlier, uids } => self.vanished(earlier, &uids, cx),
            Untagged::Enabled(names) => self.enabled(&names, cx),
            Untagged::Fetch(_, _) if self.enabled.uid_only => {
                self.complain("FETCH with a sequence number, and there are none", cx);
            }
            Untagged::UidFetch(..) if !self.enabled.uid_only => {
                self.complain("UIDFETCH, and nobody has enabled it", cx);
            }
            Untagged::Fetch(number, fetched) => self.fetched(Some(number), *fetched, cx),
            Untagged::UidFetch(_, fetched) => self.fetched(None, *fetched, cx),
            Untagged::Search(found, modseq)
                if matches!(self.asked.front(), Some(Command { doing: Doing::SearchSince { .. }, .. })) =>
            {
                if let Some(Command { doing: Doing::SearchSince { found: slot, .. }, .. }) =
                    self.asked.front_mut()
                {
                    *slot = Some((found, modseq));
                }
            }
            Untagged::ESearch(told) => self.result_told(*told, cx),
            Untagged::Search(found, _) => {
                if let Some(Command { doing: Doing::Search(slot), .. }) = self.asked.front_mut() {
                    *slot = Some(found.clone());
                    self.is_found(&found, cx);
                }
            }
            Untagged::MailboxStatus(_, items) => self.status_shown(&items, cx),
            Untagged::Capability
            | Untagged::Flags(_)
            | Untagged::List(..)
            | Untagged::Recent(_)
            | Untagged::Other => {}
        }
    }

    /// Does something with the selected mailbox, or the one that is being selected.
    pub(super) fn on_model(
        &mut self,
        cx: &mut Cx<'_>,
        act: impl FnOnce(&mut Selected, &mut Cx<'_>) -> Result<(), String>,
    ) {
        let selecting = match self.asked.front_mut() {
            Some(Command { doing: Doing::Select(selected), .. }) => Some(&mut **selected),
            Some(_) | None => None,
        };
        // A mailbox that was left may still be spoken of.
        let Some(selected) = selecting.or(self.selected.as_mut()) else { return };
        if let Err(wrong) = act(selected, cx) {
            self.complain(&wrong, cx);
        }
    }

    fn shown(&mut self, code: Option<Code>, cx: &mut Cx<'_>) {
        self.on_model(cx, |selected, cx| {
            let ledger = &mut cx.env.ledger;
            match code {
                Some(Code::UidValidity(validity)) => {
                    selected.validity = Some(validity);
                    ledger.saw_uid_validity(&selected.place, validity);
                }
                Some(Code::UidNext(next)) => ledger.saw_uid_next(&selected.place, next, selected.uid_next),
                Some(Code::HighestModSeq(modseq)) => {
                    selected.model.highest = selected.model.highest.max(Some(modseq));
                    ledger.saw_modseq(&selected.place, modseq, selected.modseq);
                }
                Some(_) | None => {}
            }
            Ok(())
        });
    }

    fn status_shown(&mut self, items: &[(String, u64)], cx: &mut Cx<'_>) {
        let Some(Command { doing: Doing::Status { place, uid_next, modseq }, .. }) = self.asked.front()
        else {
            return;
        };
        for (item, value) in items {
            let small = u32::try_from(*value).unwrap_or(0);
            match item.as_str() {
                "UIDVALIDITY" => cx.env.ledger.saw_uid_validity(place, small),
                "UIDNEXT" => cx.env.ledger.saw_uid_next(place, small, *uid_next),
                "HIGHESTMODSEQ" => cx.env.ledger.saw_modseq(place, *value, *modseq),
                _ => {}
            }
        }
    }

    fn expunged(&mut self, number: u32, cx: &mut Cx<'_>) {
        if self.enabled.tells_vanished() {
            return self.complain("EXPUNGE, and VANISHED is enabled", cx);
        }
        match self.asked.front() {
            None => self.complain("EXPUNGE while no command runs", cx),
            Some(command) if command.hides_expunges => {
                let verb = command.verb;
                self.complain(&format!("EXPUNGE during {verb}"), cx);
            }
            Some(_) => {}
        }
        self.on_model(cx, |selected, cx| {
            if let Some(uid) = selected.model.expunge(number)?.uid {
                selected.is_in_no_result(uid)?;
                cx.env.ledger.was_expunged(&selected.place, uid, cx.env.now);
            }
            Ok(())
        });
    }

    /// FETCH, or without a number UIDFETCH.
    fn fetched(&mut self, number: Option<u32>, fetched: Fetched, cx: &mut Cx<'_>) {
        // What others changed may be told in between without the UID (RFC 3501 §6.4.8).
        let asked_for = !fetched.sections.is_empty() || fetched.size.is_some() || fetched.date.is_some();
        if self.asked.front().is_some_and(|command| command.by_uid) && asked_for && fetched.uid.is_none() {
            self.complain("a FETCH without the UID during a UID command", cx);
        }
        let comparing = matches!(self.asked.front(), Some(Command { doing: Doing::Compare { .. }, .. }));
        if comparing {
            return self.compared(number, &fetched, cx);
        }
        let whole = fetched.sections.iter().find(|(section, _)| section.is_empty());
        let body = whole.and_then(|(_, octets)| {
            octets.as_deref().filter(|octets| octets.len() > 100).map(<[u8]>::to_vec)
        });
        let when = self.asked.front().map(|command| command.when(cx.env.now));
        let (mut shown, flags) = (None, fetched.flags.as_deref().and_then(|flags| bits(flags).ok()));
        self.on_model(cx, |selected, cx| {
            let number = selected.number(number, &fetched)?;
            let pair = selected.model.fetch(number, &fetched)?;
            shown = selected.model.messages.get(number as usize - 1).and_then(|known| known.uid);
            if let Some(uid) = shown.filter(|uid| selected.vanished.contains(uid)) {
                return Err(format!("UID {uid} has vanished (EARLIER), and is there"));
            }
            if let Some(((uid, modseq), when)) = shown.zip(fetched.modseq).zip(when) {
                cx.env.ledger.saw_message_modseq(&selected.place, uid, modseq, flags, when);
            }
            if let Some((uid, token)) = pair {
                cx.env.ledger.saw_uid(&selected.place, uid, token, selected.since);
                if let Some(body) = body
                    .filter(|body| !token.is_whole(body))
                    .filter(|body| body.starts_with(b"X-Sim") || body.starts_with(b"Return-Path"))
                {
                    return Err(format!(
                        "UID {uid} ({:016x}) is shown as {} octets that it is not",
                        token.0,
                        body.len()
                    ));
                }
            }
            Ok(())
        });
        if let Some(Command { doing: Doing::Since { told, .. }, .. }) = self.asked.front_mut() {
            told.extend(shown);
        }
    }

    /// A message of a fresh FETCH, kept apart from the model until all are there.
    fn compared(&mut self, number: Option<u32>, fetched: &Fetched, cx: &mut Cx<'_>) {
        let (uid, flags) = (fetched.uid, fetched.flags.as_deref().map(bits));
        match (self.asked.front_mut(), uid, flags) {
            (Some(Command { doing: Doing::Compare { seen, .. }, .. }), Some(uid), Some(Ok(flags))) => {
                seen.push(Shown { number, uid, flags, modseq: fetched.modseq });
            }
            (_, _, Some(Err(wrong))) => self.complain(&wrong, cx),
            // Flags that have changed are told in between, without a UID.
            _ => self.on_model(cx, |selected, _| {
                let number = selected.number(number, fetched)?;
                selected.model.fetch(number, fetched).map(|_| ())
            }),
        }
    }

    fn tagged(&mut self, tag: &str, status: Status, code: Option<Code>, cx: &mut Cx<'_>) {
        let Some(command) = self.asked.pop_front() else {
            return self.complain(&format!("an answer {tag} to nothing"), cx);
        };
        if command.tag != tag {
            self.complain(&format!("the answer {tag}, and {} is the oldest question", command.tag), cx);
        }
        if status == Status::Bad {
            self.complain(&format!("BAD to {} {}", command.verb, command.tag), cx);
        }
        self.parts.clear();
        let (good, died) = (status == Status::Ok, command.life != cx.env.life);
        let excused = matches!(command.doing, Doing::MayFail | Doing::Idle)
            || code == Some(Code::Other("EXPUNGEISSUED".into()));
        if cx.env.calm && !good && !excused && !died {
            self.complain(
                &format!("{status:?} [{code:?}] to {} {} in a calm world", command.verb, command.tag),
                cx,
            );
        }
        let when = command.when(cx.env.now);
        match command.doing {
            Doing::StartTls if good => return cx.wishes.push(Wish::Send(Packet::Tls)),
            Doing::StartTls => {}
            Doing::Login if good => {
                self.ready = true;
                if self.enable(cx) {
                    return;
                }
            }
            Doing::Login => {
                cx.wishes.push(Wish::Leave);
                return self.lost(cx);
            }
            Doing::Select(selected) => {
                if good {
                    self.selected(*selected, when, cx);
                }
            }
            Doing::Learn => {
                let complete = |selected: &Selected| {
                    selected.model.messages.iter().all(|known| known.uid.is_some() || !known.asked)
                };
                if let Some(selected) = self.selected.as_mut().filter(|selected| good && complete(selected)) {
                    selected.learned = true;
                }
            }
            Doing::Unchanged { changes, since, alone } => {
                let modified = match code {
                    Some(Code::Modified(uids)) if good => uids,
                    Some(_) | None => Vec::new(),
                };
                self.enabled.condstore = true;
                let left = self.settle_modified(changes, (since, alone), &modified, when, cx);
                self.changed(left, (command.silent, false), good, cx);
            }
            Doing::Since { since, told, .. } if good => {
                self.enabled.condstore = true;
                self.changes_told(since, &told, when, cx);
            }
            Doing::SearchSince { since, found } if good => {
                self.enabled.condstore = true;
                let (found, modseq) = found.unwrap_or_default();
                self.searched_since(since, (&found, modseq), when, cx);
            }
            Doing::Change(changes) => {
                let fetches = command.verb.contains("FETCH");
                self.changed(changes, (command.silent, fetches), good, cx);
            }
            Doing::Copy { uids, to, moving } => {
                if let Some(Code::HighestModSeq(modseq)) = code {
                    self.expunge_told(modseq, cx);
                }
                self.copied(&uids, &to, moving, good.then_some(command.sent_at), code, cx)
            }
            Doing::Append { token, to } => {
                self.appended(token, &to, good.then_some(command.sent_at), code, cx)
            }
            Doing::Expunge(under_way) => {
                under_way.into_iter().for_each(|id| cx.env.ledger.end_expunge(id));
                if let Some(Code::HighestModSeq(modseq)) = code {
                    self.expunge_told(modseq, cx);
                }
            }
            Doing::Keep(kept) => self.keep(kept, good),
            Doing::Search(found) if good => self.searched(&found.unwrap_or_default(), cx),
            Doing::Create(place) => {
                if good {
                    let folder = cx.env.ledger.folder(&place);
                    (folder.presence, folder.given_up) = (Presence::Must, false);
                    self.own.push(place);
                }
            }
            Doing::Rename(from, to) => {
                if good {
                    cx.env.ledger.has_renamed(&from, &to);
                    self.own.push(to);
                } else {
                    cx.env.ledger.give_up(&from);
                    cx.env.ledger.give_up(&to);
                }
            }
            Doing::Delete(place) => {
                if good {
                    cx.env.ledger.folder(&place).presence = Presence::MustNot;
                }
            }
            Doing::Subscribe(place, on) => {
                if good {
                    let presence = if on { Presence::Must } else { Presence::MustNot };
                    cx.env.ledger.subscription(&place, presence);
                }
            }
            Doing::Compare { seen, strict } => self.compare_all(&seen, strict && good, when, good, cx),
            Doing::Idle
            | Doing::Plain
            | Doing::Enable
            | Doing::MayFail
            | Doing::Since { .. }
            | Doing::SearchSince { .. }
            | Doing::Status { .. }
            | Doing::Search(_)
            | Doing::Logout => {}
        }
        self.go_on(cx);
    }

    fn changed(
        &mut self,
        changes: Vec<Changing>,
        (silent, fetches): (bool, bool),
        good: bool,
        cx: &mut Cx<'_>,
    ) {
        let Some(selected) = &mut self.selected else { return };
        for Changing { change, uid, token, index, on } in changes {
            if silent {
                selected.model.believe(uid, index, on, good);
            }
            let Some(entry) = cx.env.ledger.folder(&selected.place).entries.get_mut(&token) else { continue };
            let alone = entry.is_alone();
            // FETCH goes on without `\Seen` while another program has the lock, and then does not tell of it.
            let good = good && (!fetches || selected.model.was_told(uid, index, on));
            // A message that was removed meanwhile was not changed, and that is no failure.
            if good && selected.model.find(uid).is_some() {
                entry.flags.acknowledge(change, index, on, alone);
            } else {
                entry.flags.fail(change);
            }
        }
    }

    fn copied(
        &mut self,
        uids: &[(u32, Token)],
        to: &Place,
        moving: bool,
        sent_at: Option<u64>,
        code: Option<Code>,
        cx: &mut Cx<'_>,
    ) {
        let (good, since) = (sent_at.is_some(), sent_at.unwrap_or(0));
        let Some(from) = self.selected.as_ref().map(|selected| selected.place.clone()) else { return };
        let pairs = match code {
            Some(Code::CopyUid(validity, here, there)) if good => {
                cx.env.ledger.saw_uid_validity(to, validity);
                here.into_iter().zip(there).collect()
            }
            Some(_) | None => Vec::new(),
        };
        for (uid, token) in uids {
            match pairs.iter().find(|(here, _)| here == uid) {
                Some((_, there)) => {
                    cx.env.ledger.has_copied(&from, *token, to);
                    cx.env.ledger.saw_uid(to, *there, *token, since);
                }
                None => {
                    cx.env.ledger.copy_uncertain(*token, to);
                    let entry = cx.env.ledger.folder(&from).entries.entry(*token).or_default();
                    let must = entry.must() > 0 && !entry.doomed.contains(uid);
                    if good && must && !moving {
                        self.complain(&format!("COPY without COPYUID for UID {uid}, which is there"), cx);
                    }
                }
            }
        }
    }

    fn appended(
        &mut self,
        token: Token,
        to: &Place,
        sent_at: Option<u64>,
        code: Option<Code>,
        cx: &mut Cx<'_>,
    ) {
        let (good, since) = (sent_at.is_some(), sent_at.unwrap_or(0));
        match code {
            Some(Code::AppendUid(validity, uids)) if good => {
                cx.env.ledger.has_arrived(to, token);
                cx.env.ledger.saw_uid_validity(to, validity);
                match uids.as_slice() {
                    [uid] => cx.env.ledger.saw_uid(to, *uid, token, since),
                    _ => self.complain("APPENDUID with several UIDs for one message", cx),
                }
            }
            Some(_) | None if good => self.complain("APPEND without APPENDUID", cx),
            Some(_) | None => {}
        }
    }

    /// SEARCH ALL finds nothing that the client does not know of. What it finds may be gone in the same answer.
    fn is_found(&mut self, found: &[u32], cx: &mut Cx<'_>) {
        let Some(selected) = &self.selected else { return };
        if selected.model.messages.iter().any(|known| known.uid.is_none()) {
            return;
        }
        let unknown: Vec<u32> =
            found.iter().copied().filter(|uid| selected.model.find(*uid).is_none()).collect();
        for uid in unknown {
            self.complain(&format!("SEARCH ALL finds UID {uid}, of which nobody has spoken"), cx);
        }
    }

    /// SEARCH ALL finds what the client believes to be there, but for what is on its way out.
    fn searched(&mut self, found: &[u32], cx: &mut Cx<'_>) {
        let Some(selected) = &self.selected else { return };
        let mut wrong = Vec::new();
        for known in &selected.model.messages {
            let Some((uid, token)) = known.uid.zip(known.token) else { continue };
            let entry = cx.env.ledger.folder(&selected.place).entries.entry(token).or_default();
            if !found.contains(&uid) && entry.must() > 0 && entry.is_alone() {
                wrong.push(format!("SEARCH ALL does not find UID {uid}"));
            }
        }
        for what in wrong {
            self.complain(&what, cx);
        }
    }

    /// A fresh FETCH against the model: `whole` if it shows all, and not only what is not gone meanwhile.
    fn compare_all(&mut self, seen: &[Shown], strict: bool, when: When, whole: bool, cx: &mut Cx<'_>) {
        let Some(selected) = &mut self.selected else { return };
        let mut wrong = Vec::new();
        for Shown { number, uid, flags, modseq } in seen {
            let number = match number.map_or_else(|| selected.model.place(*uid), Ok) {
                Ok(number) => number,
                Err(what) => {
                    wrong.push(what);
                    continue;
                }
            };
            let (count, highest) = (selected.model.messages.len(), selected.model.highest);
            let Some(known) = selected.model.messages.get_mut(number as usize - 1) else {
                wrong.push(format!("FETCH {number} in a mailbox of {count}"));
                continue;
            };
            if let Some(before) = known.uid.filter(|before| before != uid) {
                wrong.push(format!("message {number} is UID {uid}, and UID {before} in the model"));
            }
            if strict && let Some(before) = known.flags.filter(|before| before != flags) {
                let (was, is) = (before.names(), flags.names());
                wrong.push(format!("UID {uid} has ({is}), and ({was}) in the model"));
            }
            if selected.vanished.contains(uid) {
                wrong.push(format!("UID {uid} has vanished (EARLIER), and is there"));
            }
            let before = known.flags;
            (known.uid, known.flags) = (Some(*uid), Some(*flags));
            if let Some(modseq) = *modseq {
                wrong.extend(
                    known.has_modseq(modseq, before, highest).err().map(|what| format!("UID {uid} {what}")),
                );
                cx.env.ledger.saw_message_modseq(&selected.place, *uid, modseq, Some(*flags), when);
            }
        }
        for (index, known) in selected.model.messages.iter().enumerate().filter(|_| whole) {
            let number = index as u32 + 1;
            let Some((uid, token)) = known.uid.zip(known.token) else { continue };
            if seen.iter().any(|seen| seen.number.map_or(seen.uid == uid, |seen| seen == number)) {
                continue;
            }
            let entry = cx.env.ledger.folder(&selected.place).entries.entry(token).or_default();
            // Who heard everything knows of every message that is gone.
            if strict || (entry.must() > 0 && entry.is_alone()) {
                wrong.push(format!("a fresh FETCH does not show message {number}, UID {uid}"));
            }
        }
        if strict && whole {
            wrong.extend(selected.result_is_right(seen).err());
        }
        for what in wrong {
            self.complain(&what, cx);
        }
    }
}

impl Selected {
    /// The number of the message that a FETCH or a UIDFETCH is about.
    fn number(&mut self, number: Option<u32>, fetched: &Fetched) -> Result<u32, String> {
        match (number, fetched.uid) {
            (Some(number), _) => Ok(number),
            (None, Some(uid)) => self.model.place(uid),
            (None, None) => Err("a UIDFETCH without a UID".into()),
        }
    }
}
