//! From a parsed command to the group it belongs to, and which commands are allowed when (RFC 9051 §3).

use super::login;
use super::session::Session;
use crate::imap::command::{Append, CommandBody, parse};
use crate::imap::response::{Status, write_tagged};
use crate::machine::CloseReason;
use crate::send_queue::SendQueue;
use alloc::string::ToString;

/// When a command is allowed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Any,
    BeforeLogin,
    LoggedIn,
    Selected,
}

fn stage_of(body: &CommandBody<'_>) -> Stage {
    match body {
        CommandBody::Capability | CommandBody::Noop | CommandBody::Logout | CommandBody::Id { .. } => {
            Stage::Any
        }
        CommandBody::StartTls | CommandBody::Authenticate { .. } | CommandBody::Login { .. } => {
            Stage::BeforeLogin
        }
        CommandBody::Enable { .. }
        | CommandBody::Compress { .. }
        | CommandBody::Unauthenticate
        | CommandBody::Select(_)
        | CommandBody::Create { .. }
        | CommandBody::Delete { .. }
        | CommandBody::Rename { .. }
        | CommandBody::Subscribe { .. }
        | CommandBody::Unsubscribe { .. }
        | CommandBody::List(_)
        | CommandBody::Lsub { .. }
        | CommandBody::Namespace
        | CommandBody::GetMetadata(_)
        | CommandBody::SetMetadata { .. }
        | CommandBody::Notify(_)
        | CommandBody::MultiSearch(_)
        | CommandBody::Status { .. }
        | CommandBody::GetQuota { .. }
        | CommandBody::GetQuotaRoot { .. }
        | CommandBody::SetQuota { .. }
        | CommandBody::Append(Append { replaces: None, .. })
        | CommandBody::Idle => Stage::LoggedIn,
        CommandBody::Append(Append { replaces: Some(_), .. })
        | CommandBody::UidBatches(_)
        | CommandBody::CancelUpdate { .. }
        | CommandBody::Check
        | CommandBody::Close
        | CommandBody::Unselect
        | CommandBody::Expunge { .. }
        | CommandBody::Search(_)
        | CommandBody::Sort(_)
        | CommandBody::Thread(_)
        | CommandBody::Fetch(_)
        | CommandBody::Store(_)
        | CommandBody::Copy { .. }
        | CommandBody::Move { .. } => Stage::Selected,
    }
}

impl Session {
    /// A whole command, or the head of an APPEND with the size of its message and whether the client waits.
    /// `behind`: there are octets after it.
    pub(super) fn start_command(
        &mut self,
        line: &[u8],
        behind: bool,
        message: Option<(u64, bool)>,
        tx: &mut SendQueue,
    ) {
        self.begin(line);
        if let Some((size, false)) = message
            && self.is_endless(size)
        {
            return self.abuse("a huge literal that cannot be stopped", tx);
        }
        let body = match parse(line) {
            Ok(command) => command.body,
            Err(error) => {
                self.skip_message(message);
                let text = error.to_string();
                return match login::foreign_verb(self, line) {
                    Some(what) => self.abuse(what, tx),
                    None => self.end(Status::Bad, None, &text, tx),
                };
            }
        };
        if let Err(text) = self.check_stage(stage_of(&body)) {
            self.skip_message(message);
            return self.end(Status::Bad, None, text, tx);
        }
        self.start(body, behind, tx);
    }

    fn check_stage(&self, stage: Stage) -> Result<(), &'static str> {
        match stage {
            Stage::BeforeLogin if self.account.is_some() => Err("You are logged in already"),
            Stage::LoggedIn | Stage::Selected if self.account.is_none() => Err("Log in first"),
            Stage::Selected if self.mailbox.is_none() => Err("Select a mailbox first"),
            Stage::Any | Stage::BeforeLogin | Stage::LoggedIn | Stage::Selected => Ok(()),
        }
    }

    /// A refused APPEND whose client does not wait: its message is swallowed.
    pub(super) fn skip_message(&mut self, message: Option<(u64, bool)>) {
        if let Some((size, false)) = message {
            self.scanner.start_skip(size);
        }
    }

    fn start(&mut self, body: CommandBody<'_>, behind: bool, tx: &mut SendQueue) {
        match body {
            CommandBody::Capability => self.start_capability(tx),
            CommandBody::Noop => self.start_noop("Noop completed", tx),
            CommandBody::Check => self.start_noop("Check completed", tx),
            CommandBody::Logout => self.start_logout(tx),
            CommandBody::Id { fields } => self.start_id(&fields, tx),
            CommandBody::Enable { capabilities } => self.start_enable(&capabilities, tx),
            CommandBody::StartTls => self.start_tls(behind, tx),
            CommandBody::Compress { mechanism } => self.start_compress(mechanism, tx),
            CommandBody::Unauthenticate => self.start_unauthenticate(tx),
            CommandBody::Authenticate { mechanism, initial } => {
                self.start_authenticate(mechanism, initial.as_ref(), tx);
            }
            CommandBody::Login { username, password } => self.start_login(&username, &password, tx),
            CommandBody::Select(select) => self.start_select(&select, tx),
            CommandBody::Create { mailbox, special_use, unknown_use } => {
                self.start_create(&mailbox, &special_use, unknown_use, tx);
            }
            CommandBody::Delete { mailbox } => self.start_delete(&mailbox, tx),
            CommandBody::Rename { from, to } => self.start_rename(&from, &to, tx),
            CommandBody::Subscribe { mailbox } => self.start_subscribe(&mailbox, true, tx),
            CommandBody::Unsubscribe { mailbox } => self.start_subscribe(&mailbox, false, tx),
            CommandBody::List(list) => self.start_list(list, tx),
            CommandBody::Lsub { reference, pattern } => self.start_lsub(&reference, &pattern, tx),
            CommandBody::Namespace => self.start_namespace(tx),
            CommandBody::GetMetadata(wanted) => self.start_get_metadata(wanted, tx),
            CommandBody::SetMetadata { mailbox, values } => self.start_set_metadata(&mailbox, values, tx),
            CommandBody::Notify(notify) => self.start_notify(notify, tx),
            CommandBody::Status { mailbox, items } => self.start_status(&mailbox, items, tx),
            CommandBody::GetQuota { root } => self.start_get_quota(&root, tx),
            CommandBody::GetQuotaRoot { mailbox } => self.start_get_quota_root(&mailbox, tx),
            CommandBody::SetQuota { root } => self.start_set_quota(&root, tx),
            CommandBody::Append(append) => self.start_append(append, tx),
            CommandBody::Idle => self.start_idle(tx),
            CommandBody::Close => self.start_close(tx),
            CommandBody::Unselect => self.start_unselect(tx),
            CommandBody::Expunge { uids } => self.start_expunge(uids.as_ref(), tx),
            CommandBody::Search(search) => self.start_search(*search, tx),
            CommandBody::MultiSearch(search) => self.start_multisearch(*search, tx),
            CommandBody::UidBatches(command) => self.start_uid_batches(command, tx),
            CommandBody::CancelUpdate { tags } => self.start_cancel_update(&tags, tx),
            CommandBody::Sort(sort) => self.start_sort(*sort, tx),
            CommandBody::Thread(thread) => self.start_thread(*thread, tx),
            CommandBody::Fetch(fetch) => self.start_fetch(fetch, tx),
            CommandBody::Store(store) => self.start_store(store, tx),
            CommandBody::Copy { uid, set, mailbox } => self.start_copy(uid, &set, &mailbox, false, tx),
            CommandBody::Move { uid, set, mailbox } => self.start_copy(uid, &set, &mailbox, true, tx),
        }
    }

    /// RFC 9051 §6.1.3: BYE comes before the tagged OK.
    fn start_logout(&mut self, tx: &mut SendQueue) {
        tx.push(b"* BYE Logging out\r\n");
        tx.write_with(|out| {
            write_tagged(out, &self.command.tag, Status::Ok, None, "Logout completed");
        });
        self.close(CloseReason::Goodbye);
    }
}
