//! A client that does not read: nothing more is produced above the high water, but what comes is absorbed.

use super::bench::setup;
use super::script::account;
use crate::auth::AuthVerdict;
use crate::event::Event;
use crate::imap::server::{
    Answer, Ask, Changes, FetchPage, FetchRow, Notice, Selected, SelectionId, Session,
};
use crate::limits::Limits;
use crate::machine::{Action, CloseReason, Input, Instant, Machine, Now, TimerKind};
use crate::send_queue::{SendQueue, Transmit};
use alloc::vec::Vec;
use core::time::Duration;

type Did = Vec<Action<'static, Ask, Event>>;

/// Feeds one input and pumps; the octets left over stay in `rx`.
fn feed(
    session: &mut Session,
    rx: &mut Vec<u8>,
    tx: &mut SendQueue,
    input: Input<'static, Answer, Notice>,
) -> Did {
    feed_at(session, rx, tx, input, Now::default())
}

fn feed_at(
    session: &mut Session,
    rx: &mut Vec<u8>,
    tx: &mut SendQueue,
    input: Input<'static, Answer, Notice>,
    now: Now,
) -> Did {
    let mut did = Vec::new();
    if let Some(step) = session.handle_input(now, input, tx) {
        did.extend(step.action);
    }
    while let Some(step) = session.handle_input(now, Input::Bytes(rx), tx) {
        let consumed = step.consumed;
        did.extend(step.action.and_then(|action| match action {
            Action::Ask(ask) => Some(Action::Ask(ask)),
            Action::Close(reason) => Some(Action::Close(reason)),
            Action::Event(_) | Action::Cancel(_) | Action::StartTls | Action::Body(_) => None,
        }));
        rx.drain(..consumed);
    }
    did
}

fn send_all(tx: &mut SendQueue) -> usize {
    let mut sent = 0;
    while let Some(Transmit::Bytes(bytes)) = tx.poll_transmit() {
        let count = bytes.len();
        sent += count;
        tx.handle_sent(count);
    }
    sent
}

/// A session with messages 1 to 4 selected and a send queue of 1000 octets.
fn selected() -> (Session, SendQueue) {
    let mut tx = SendQueue::new(1000);
    let mut session = Session::new(setup(), Now::default(), &mut tx);
    let mut rx = b"a LOGIN you secret\r\nb SELECT INBOX\r\n".to_vec();
    for _ in 0..2 {
        send_all(&mut tx);
        let did = feed(&mut session, &mut rx, &mut tx, Input::Bytes(b""));
        let answer = match did.into_iter().find_map(|action| match action {
            Action::Ask(ask) => Some(ask),
            _ => None,
        }) {
            Some(Ask::Authenticate { ticket, .. }) => {
                Answer::Authenticate(ticket.answer(AuthVerdict::Granted(account())))
            }
            Some(Ask::Select { ticket, .. }) => Answer::Select(ticket.answer(Ok(Selected {
                selection: SelectionId(1),
                uid_validity: 1,
                uid_next: 5,
                modseq: None,
                guid: None,
                view: (1..5).collect(),
                recent: Default::default(),
                first_unseen: None,
                keywords: Default::default(),
                read_only: false,
            }))),
            other => panic!("{other:?}"),
        };
        let now = Input::Answer(answer);
        assert!(session.handle_input(Now::default(), now, &mut tx).is_none_or(|step| step.consumed == 0));
    }
    send_all(&mut tx);
    (session, tx)
}

#[test]
fn the_next_page_waits_for_room() {
    let (mut session, mut tx) = selected();
    let mut rx = b"c FETCH 1:* (BODY[])\r\nd NOOP\r\n".to_vec();
    let mut did = feed(&mut session, &mut rx, &mut tx, Input::Bytes(b""));
    for first in 1..=4 {
        let Some(Action::Ask(Ask::Fetch { ticket, uids, .. })) = did.pop() else { panic!("{did:?}") };
        assert_eq!(uids.first(), Some(first));
        let rows = [FetchRow { uid: first, end: 3000 }].to_vec();
        let next = (first < 4).then_some(first + 1);
        let page = FetchPage { rows, bytes: [b'x'; 3000].to_vec(), next, ..FetchPage::default() };
        did = feed(&mut session, &mut rx, &mut tx, Input::Answer(Answer::Fetch(ticket.answer(Ok(page)))));
        assert!(tx.is_above_high_water());
        assert_eq!(rx, b"d NOOP\r\n", "the next command waits, too");
        if first < 4 {
            assert!(did.is_empty(), "{did:?}");
            // A notice is absorbed all the same.
            assert!(feed(&mut session, &mut rx, &mut tx, Input::Notice(Notice::Changed)).is_empty());
            assert!(send_all(&mut tx) > 3000);
            did = feed(&mut session, &mut rx, &mut tx, Input::Bytes(b""));
        }
    }
    let Some(Action::Ask(Ask::Changes { ticket, rescan: false, .. })) = did.pop() else { panic!("{did:?}") };
    let answer = Answer::Changes(ticket.answer(Changes::default()));
    assert!(feed(&mut session, &mut rx, &mut tx, Input::Answer(answer)).is_empty());
    assert_eq!(rx, b"d NOOP\r\n");
    send_all(&mut tx);
    let did = feed(&mut session, &mut rx, &mut tx, Input::Bytes(b""));
    assert!(matches!(did.as_slice(), [Action::Ask(Ask::Changes { rescan: true, .. })]), "{did:?}");
}

#[test]
fn a_slow_reader_is_not_idle_but_a_dead_one_is() {
    let (mut session, mut tx) = selected();
    let mut rx = b"c FETCH 1 (BODY[])\r\n".to_vec();
    let did = feed(&mut session, &mut rx, &mut tx, Input::Bytes(b""));
    let Some(Action::Ask(Ask::Fetch { ticket, .. })) = did.into_iter().next() else { panic!() };
    let rows = [FetchRow { uid: 1, end: 3000 }].to_vec();
    let page = FetchPage { rows, bytes: [b'x'; 3000].to_vec(), ..FetchPage::default() };
    feed(&mut session, &mut rx, &mut tx, Input::Answer(Answer::Fetch(ticket.answer(Ok(page)))));
    let mut now = Now::default();
    for _ in 0..3 {
        let (at, kind) = session.poll_timeout().unwrap();
        assert_eq!(kind, TimerKind::Idle);
        now.instant = at;
        tx.handle_sent(100);
        assert!(feed_at(&mut session, &mut rx, &mut tx, Input::Timeout, now).is_empty());
    }
    now.instant = now.instant.plus(Duration::from_secs(31 * 60));
    assert!(now.instant > Instant::default());
    let did = feed_at(&mut session, &mut rx, &mut tx, Input::Timeout, now);
    assert!(matches!(did.last(), Some(Action::Close(CloseReason::IdleTimeout))), "{did:?}");
    assert!(!session.wants_bytes() && session.poll_timeout().is_none());
}

#[test]
fn an_answer_that_comes_too_late_changes_nothing() {
    let (mut session, mut tx) = selected();
    let mut rx = b"c NOOP\r\n".to_vec();
    let did = feed(&mut session, &mut rx, &mut tx, Input::Bytes(b""));
    let Some(Action::Ask(Ask::Changes { ticket, .. })) = did.into_iter().next() else { panic!() };
    let patience = Limits::default().commit;
    let now = Now { instant: Instant::default().plus(patience), ..Now::default() };
    feed_at(&mut session, &mut rx, &mut tx, Input::Timeout, now);
    send_all(&mut tx);
    let late = Answer::Changes(ticket.answer(Changes { reset: true, ..Changes::default() }));
    assert!(feed_at(&mut session, &mut rx, &mut tx, Input::Answer(late), now).is_empty());
    assert!(tx.is_empty() && session.wants_bytes());
}
