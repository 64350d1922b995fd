//! Answers find their way back to the command that asked; an answer that does not come costs that command a NO.

use super::changes::After;
use super::reply::LOST_ANSWER;
use super::session::{Session, State, Then, Waiting};
use super::{Answer, Ask, Refusal, Selected};
use crate::imap::response::{Code, Status};
use crate::send_queue::SendQueue;
use crate::ticket::{Answered, TicketId};

impl Session {
    /// An answer that nobody waits for any more changes nothing.
    pub(super) fn handle_answer(&mut self, answer: Answer, tx: &mut SendQueue) {
        match answer {
            Answer::Verifier(answered) => {
                if let Some((offer, Then::Verifier(first))) = self.take_verdict(answered) {
                    self.handle_verifier(*first, offer, tx);
                }
            }
            Answer::Authenticate(answered) => {
                if let Some((verdict, Then::Login(login))) = self.take_verdict(answered) {
                    self.handle_login(login, verdict, tx);
                }
            }
            Answer::Select(answered) if self.lost_selects.contains(&answered.id()) => {
                self.handle_late_select(answered);
            }
            Answer::Select(answered) => {
                if let Some((verdict, Then::Select(selecting))) = self.take_verdict(answered) {
                    self.handle_selected(selecting, verdict, tx);
                }
            }
            Answer::Changes(answered) => {
                if let Some((changes, Then::Changes(after))) = self.take_verdict(answered) {
                    self.handle_changes(changes, after, tx);
                }
            }
            Answer::List(answered) => match self.take_verdict(answered) {
                Some((verdict, Then::List(listing))) => self.handle_list(listing, verdict, tx),
                Some((verdict, Then::MultisearchList(searching))) => {
                    self.handle_multisearch_list(searching, verdict, tx);
                }
                Some(_) | None => {}
            },
            Answer::Status(answered) => match self.take_verdict(answered) {
                Some((verdict, Then::Status(status_of))) => self.handle_status(&status_of, verdict, tx),
                Some((verdict, Then::StatusDetail(details))) => {
                    self.handle_status_detail(details, verdict, tx);
                }
                Some(_) | None => {}
            },
            Answer::Quota(answered) => {
                if let Some((verdict, Then::Quota(asked))) = self.take_verdict(answered) {
                    self.handle_quota(&asked, verdict, tx);
                }
            }
            Answer::Done(answered) => self.handle_done(answered, tx),
            Answer::Created(answered) => {
                if let Some((verdict, Then::Create(named))) = self.take_verdict(answered) {
                    self.handle_created(&named, verdict, tx);
                }
            }
            Answer::Metadata(answered) => match self.take_verdict(answered) {
                Some((verdict, Then::Metadata(wanted))) => self.handle_metadata(&wanted, verdict, tx),
                Some((verdict, Then::MetadataDetail(details))) => {
                    self.handle_metadata_detail(details, verdict, tx);
                }
                Some(_) | None => {}
            },
            Answer::Followed(answered) => {
                if let Some((verdict, Then::Follow(set))) = self.take_verdict(answered) {
                    self.handle_followed(set, verdict, tx);
                }
            }
            Answer::News(answered) => {
                if let Some((news, Then::News(rest))) = self.take_verdict(answered) {
                    self.handle_news(rest, &news, tx);
                }
            }
            Answer::Append(answered) => {
                if let Some((verdict, Then::AppendCommit(committing))) = self.take_verdict(answered) {
                    self.handle_appended(committing, verdict, tx);
                }
            }
            Answer::Fetch(answered) => {
                if !self.waits_for(answered.id()) {
                    return answered.into_files().for_each(|file| tx.release(file));
                }
                if let Some((verdict, Then::Fetch(fetching))) = self.take_verdict(answered) {
                    self.handle_page(fetching, verdict, tx);
                }
            }
            Answer::Store(answered) => {
                if let Some((verdict, Then::Store(storing))) = self.take_verdict(answered) {
                    self.handle_stored(storing, verdict, tx);
                }
            }
            Answer::Copy(answered) => {
                if let Some((verdict, Then::Copy(copying))) = self.take_verdict(answered) {
                    self.handle_copied(copying, verdict, tx);
                }
            }
            Answer::Search(answered) => match self.take_verdict(answered) {
                Some((verdict, Then::Search(searching))) => self.handle_found(searching, verdict, tx),
                Some((verdict, Then::Update(updating))) => self.handle_updated(updating, verdict, tx),
                Some(_) | None => {}
            },
            Answer::SearchedIn(answered) => {
                if let Some((verdict, Then::Multisearch(searching))) = self.take_verdict(answered) {
                    self.handle_searched_in(searching, verdict, tx);
                }
            }
            Answer::Vanished(answered) => {
                if let Some((gone, Then::Vanished(fetching))) = self.take_verdict(answered) {
                    self.handle_vanished(fetching, &gone, tx);
                }
            }
            Answer::ModSeq(answered) => {
                if let Some((modseq, Then::ModSeq(searching, found))) = self.take_verdict(answered) {
                    // What is gone meanwhile has none.
                    self.tell_found(searching, found, Some(modseq).filter(|modseq| *modseq > 0), tx);
                }
            }
            Answer::Sort(answered) => {
                if let Some((verdict, Then::Sort(searching))) = self.take_verdict(answered) {
                    self.handle_sorted(searching, verdict, tx);
                }
            }
            Answer::Thread(answered) => {
                if let Some((verdict, Then::Thread(threading))) = self.take_verdict(answered) {
                    self.handle_threads(&threading, verdict, tx);
                }
            }
        }
    }

    fn waits_for(&self, id: TicketId) -> bool {
        matches!(&self.state, State::Waiting(waiting) if waiting.id == id)
    }

    /// The verdict and what to do with it, if the answer is the one that is waited for.
    fn take_verdict<V>(&mut self, answered: Answered<V>) -> Option<(V, Then)> {
        let State::Waiting(waiting) = &self.state else { return None };
        let verdict = answered.into_verdict(waiting.id)?;
        match core::mem::replace(&mut self.state, State::Command) {
            State::Waiting(waiting) => Some((verdict, waiting.then)),
            State::Command
            | State::Sasl(_)
            | State::Fetch(_)
            | State::List(_)
            | State::Search(_)
            | State::Message(_)
            | State::Idle
            | State::Handshake
            | State::Closed => None,
        }
    }

    fn handle_done(&mut self, answered: Answered<Result<(), Refusal>>, tx: &mut SendQueue) {
        let State::Waiting(Waiting { id, .. }) = self.state else { return };
        match self.take_verdict(answered) {
            Some((verdict, Then::Folder(done))) => self.handle_folder(&done, verdict, tx),
            Some((verdict, Then::Append(appending))) => {
                self.handle_append_allowed(id, appending, verdict, tx);
            }
            Some((verdict, Then::SetMetadata)) => self.handle_metadata_set(verdict, tx),
            Some((verdict, Then::Replaced)) => self.handle_replaced(verdict, tx),
            Some((verdict, Then::Expunge)) => self.handle_expunged(verdict, tx),
            Some((verdict, Then::Close)) => self.handle_closed(verdict, tx),
            Some(_) | None => {}
        }
    }

    /// A SELECT that was given up has selected after all: nobody will ever ask about that selection.
    fn handle_late_select(&mut self, answered: Answered<Result<Selected, Refusal>>) {
        let id = answered.id();
        self.lost_selects.retain(|lost| *lost != id);
        if let Some(Ok(selected)) = answered.into_verdict(id) {
            self.push_ask(Ask::Unselect { selection: selected.selection });
        }
    }

    /// The answer is overdue: the command ends, and the answer will be ignored.
    pub(super) fn handle_lost_answer(&mut self, tx: &mut SendQueue) {
        let State::Waiting(Waiting { id, then, .. }) = core::mem::replace(&mut self.state, State::Command)
        else {
            return;
        };
        self.push_cancel(id);
        match then {
            // The command itself is done; what changed is told another time.
            Then::Changes(after) => {
                if let Some(mailbox) = self.mailbox.as_mut() {
                    mailbox.changed = true;
                }
                self.resume_after_lost(after, tx);
            }
            Then::Append(appending) => {
                self.drop_append(&appending);
                self.end_lost(tx);
            }
            Then::Close => {
                self.leave_mailbox();
                self.end_lost(tx);
            }
            Then::Select(_) => {
                self.lost_selects.push(id);
                self.end_lost(tx);
            }
            Then::Fetch(fetching) | Then::Vanished(fetching) => {
                self.fail_fetch(fetching, &Code::Unavailable, LOST_ANSWER, tx);
            }
            Then::Update(updating) => self.handle_updated(updating, Err(Refusal::Unavailable), tx),
            // It is asked for again when there is more to tell.
            Then::News(rest) => {
                self.state = rest.state();
                self.news = true;
            }
            Then::Verifier(_)
            | Then::Login(_)
            | Then::List(_)
            | Then::StatusDetail(_)
            | Then::MetadataDetail(_)
            | Then::Status(_)
            | Then::Quota(_)
            | Then::Create(_)
            | Then::Folder(_)
            | Then::Metadata(_)
            | Then::SetMetadata
            | Then::Follow(_)
            | Then::AppendCommit(_)
            | Then::Replaced
            | Then::Store(_)
            | Then::Copy(_)
            | Then::Expunge
            | Then::Search(_)
            | Then::Sort(_)
            | Then::MultisearchList(_)
            | Then::Multisearch(_)
            | Then::ModSeq(..)
            | Then::Thread(_) => self.end_lost(tx),
        }
    }

    fn end_lost(&mut self, tx: &mut SendQueue) {
        self.end(Status::No, Some(&Code::Unavailable), LOST_ANSWER, tx);
    }

    fn resume_after_lost(&mut self, after: After, tx: &mut SendQueue) {
        match after {
            After::Reply(_) | After::Expunged(_) => self.resume_after(after, tx),
            After::Rest(rest) => self.state = rest.state(),
        }
    }
}
