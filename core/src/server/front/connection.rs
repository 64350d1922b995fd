//! One connection: its session, what is to be sent, and the desk where its questions are answered or passed on.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::FrontAction;
use super::desk::{Clerk, Client, Desk};
use crate::machine::{Input, Instant, Now, StepOf, TlsInfo};
use crate::send_queue::SendQueue;
use crate::server::FromOffice;
use crate::site::Site;
use crate::{imap, smtp};

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) session: Session,
    pub(super) tx: SendQueue,
    pub(super) desk: Desk,
    pub(super) timer: Option<Instant>,
    pub(super) closing: bool,
}

#[derive(Debug)]
pub(super) enum Session {
    Smtp(Box<smtp::server::Session>),
    Imap(Box<imap::server::Session>),
    Client(Box<smtp::client::Session>),
}

/// Gives back the files of an answer that comes too late.
pub(super) fn close_files(message: FromOffice, out: &mut Vec<FrontAction>) {
    if let FromOffice::Imap { answer, .. } = message
        && let imap::server::Answer::Fetch(answered) = *answer
    {
        out.extend(answered.into_files().map(FrontAction::CloseFile));
    }
}

/// Inputs that are the same for all sessions.
pub(super) enum Plain {
    TlsStarted(TlsInfo),
    Timeout,
    Eof,
    Shutdown,
    AccountGone,
}

impl Plain {
    /// This input of a session that calls a shutdown so, and the end of its account so; `None`: it is not told of that.
    fn of<A, N>(self, shutdown: N, account_gone: Option<N>) -> Option<Input<'static, A, N>> {
        match self {
            Plain::TlsStarted(tls) => Some(Input::TlsStarted(tls)),
            Plain::Timeout => Some(Input::Timeout),
            Plain::Eof => Some(Input::Eof),
            Plain::Shutdown => Some(Input::Notice(shutdown)),
            Plain::AccountGone => account_gone.map(Input::Notice),
        }
    }
}

impl Connection {
    pub(super) fn pump(&mut self, site: &Site, now: Now, rx: &[u8], out: &mut Vec<FrontAction>) -> usize {
        if self.closing {
            return rx.len();
        }
        let Connection { session, tx, desk, closing, .. } = self;
        let mut clerk = Clerk { desk, site, out };
        match session {
            Session::Smtp(session) => pump(&mut **session, now, rx, tx, &mut clerk, closing),
            Session::Imap(session) => pump(&mut **session, now, rx, tx, &mut clerk, closing),
            Session::Client(session) => pump(&mut **session, now, rx, tx, &mut clerk, closing),
        }
    }

    pub(super) fn feed(&mut self, site: &Site, now: Now, input: Plain, out: &mut Vec<FrontAction>) {
        if self.closing {
            return;
        }
        let Connection { session, tx, desk, closing, .. } = self;
        let mut clerk = Clerk { desk, site, out };
        match session {
            Session::Smtp(session) => {
                use smtp::server::Notice;
                // Without an account the next MAIL is refused: the sender is nobody's address.
                if let Some(input) = input.of(Notice::Shutdown, None) {
                    feed(&mut **session, now, input, tx, &mut clerk, closing);
                }
            }
            Session::Imap(session) => {
                use imap::server::Notice;
                if let Some(input) = input.of(Notice::Shutdown, Some(Notice::AccountGone)) {
                    feed(&mut **session, now, input, tx, &mut clerk, closing);
                }
            }
            Session::Client(session) => {
                use smtp::client::Notice;
                // It is nobody's.
                if let Some(input) = input.of(Notice::Shutdown, None) {
                    feed(&mut **session, now, input, tx, &mut clerk, closing);
                }
            }
        }
    }

    pub(super) fn handle_office(
        &mut self,
        site: &Site,
        now: Now,
        message: FromOffice,
        out: &mut Vec<FrontAction>,
    ) {
        let Connection { session, tx, desk, closing, .. } = self;
        if let FromOffice::ChunkTaken { .. } = message {
            desk.chunk_taken();
            return;
        }
        if let FromOffice::Delivered { .. } = message {
            desk.mail_taken();
        }
        if *closing {
            return close_files(message, out);
        }
        match session {
            Session::Smtp(session) => {
                let answer = match message {
                    FromOffice::Authenticated { answer, .. } => smtp::server::Answer::Authenticate(answer),
                    FromOffice::Recipient { answer, .. } => smtp::server::Answer::Recipient(answer),
                    FromOffice::Delivered { answer, .. } => smtp::server::Answer::Commit(answer),
                    FromOffice::Imap { .. }
                    | FromOffice::ImapNotice { .. }
                    | FromOffice::Link { .. }
                    | FromOffice::ChunkTaken { .. } => return,
                };
                let mut clerk = Clerk { desk, site, out };
                feed(&mut **session, now, Input::Answer(answer), tx, &mut clerk, closing);
            }
            Session::Imap(session) => {
                let input = match message {
                    FromOffice::Authenticated { answer, .. } => {
                        desk.note_login(&answer);
                        Input::Answer(imap::server::Answer::Authenticate(answer))
                    }
                    FromOffice::Imap { answer, .. } => Input::Answer(*answer),
                    FromOffice::ImapNotice { notice, .. } => Input::Notice(notice),
                    FromOffice::Recipient { .. }
                    | FromOffice::Delivered { .. }
                    | FromOffice::ChunkTaken { .. }
                    | FromOffice::Link { .. } => {
                        return;
                    }
                };
                feed(&mut **session, now, input, tx, &mut Clerk { desk, site, out }, closing);
            }
            Session::Client(session) => {
                if let FromOffice::Link { answer, .. } = message {
                    let mut clerk = Clerk { desk, site, out };
                    feed(&mut **session, now, Input::Answer(answer), tx, &mut clerk, closing);
                }
            }
        }
    }
}

/// Steps of one session before others have their turn.
const STEPS_MAX: usize = 512;

/// Pumps octets through a session until it is idle; says how many are consumed.
fn pump<M: Client>(
    session: &mut M,
    now: Now,
    rx: &[u8],
    tx: &mut SendQueue,
    clerk: &mut Clerk<'_>,
    closing: &mut bool,
) -> usize {
    let mut consumed = 0;
    for turn in 0.. {
        if *closing || !clerk.has_room() {
            break;
        }
        if turn == STEPS_MAX {
            // Others have their turn; few octets may mean very much when they are compressed.
            clerk.go_on_later();
            break;
        }
        let rest = rx.get(consumed..).unwrap_or_default();
        let Some(step) = session.handle_input(now, Input::Bytes(rest), tx) else { break };
        consumed += step.consumed;
        settle(session, now, step, tx, clerk, closing);
    }
    consumed.min(rx.len())
}

/// Feeds one input that is not octets.
fn feed<M: Client>(
    session: &mut M,
    now: Now,
    input: Input<'_, M::Answer, M::Notice>,
    tx: &mut SendQueue,
    clerk: &mut Clerk<'_>,
    closing: &mut bool,
) {
    if let Some(step) = session.handle_input(now, input, tx) {
        settle(session, now, step, tx, clerk, closing);
    }
}

/// Carries a step out, and the steps that follow from answers given on the spot.
fn settle<M: Client>(
    session: &mut M,
    now: Now,
    step: StepOf<'_, M>,
    tx: &mut SendQueue,
    clerk: &mut Clerk<'_>,
    closing: &mut bool,
) {
    let mut action = step.action;
    while let Some(current) = action.take() {
        let Some(answer) = clerk.handle::<M>(current, closing) else { return };
        action = session.handle_input(now, Input::Answer(answer), tx).and_then(|step| step.action);
    }
}
