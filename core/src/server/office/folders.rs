//! Accounts and their trees of mailboxes.

use alloc::sync::Arc;

use super::answers::{refusal, trouble};
use super::mailboxes::MailboxKey;
use super::work::{Done, Outcome, Work, folder_task};
use super::{Caller, Desk, Office};
use crate::auth::AuthVerdict;
use crate::disk::Task;
use crate::imap::metadata::Annotations;
use crate::imap::server::{Answer, Folder, FolderChange, Refusal};
use crate::maildir::account::create_account;
use crate::maildir::context::{Root, StoreError};
use crate::maildir::folder::{BadName, FolderName, SpecialUse};
use crate::maildir::folders;
use crate::maildir::metadata::{Annotated, Metadata, metadata};
use crate::server::FromOffice;
use crate::site::Account;
use crate::ticket::Ticket;
use alloc::vec::Vec;

impl Office {
    /// The first login of an account in this process: its Maildir is made if it is not there.
    pub(super) fn prepare_account(
        &mut self,
        caller: Caller,
        ticket: Ticket<AuthVerdict>,
        account: Arc<Account>,
        desk: &mut Desk<'_>,
    ) {
        let (ctx, root) = (self.context.clone(), Root::new(&account.maildir));
        let task = Task::new(move |disk| async move {
            let result = create_account(disk, ctx, root).await;
            Done::new(Outcome::Prepared { caller, ticket, account, result })
        });
        self.run(task, desk);
    }

    /// A login goes on, whether or not the Maildir could be made: what then fails says so itself.
    pub(super) fn finish_preparing(
        &mut self,
        caller: Caller,
        ticket: Ticket<AuthVerdict>,
        account: Arc<Account>,
        result: Result<(), StoreError>,
        desk: &mut Desk<'_>,
    ) {
        match result {
            Ok(()) => {
                self.prepared.insert(account.maildir.clone());
            }
            Err(error) => trouble(&alloc::string::String::from_utf8_lossy(&account.maildir), &error, desk),
        }
        let answer = ticket.answer(AuthVerdict::Granted(account));
        desk.answer(caller, FromOffice::Authenticated { conn: caller.conn, answer });
    }

    pub(super) fn list(
        &mut self,
        caller: Caller,
        ticket: Ticket<Result<Vec<Folder>, Refusal>>,
        root: Root,
        desk: &mut Desk<'_>,
    ) {
        let ctx = self.context.clone();
        let task = Task::new(move |disk| async move {
            let mailbox = MailboxKey { root: root.clone(), folder: FolderName::inbox() };
            let (answer, trouble) = match folders::list(disk, ctx, root).await {
                Ok(folders) => (Ok(folders.into_iter().map(listed).collect()), None),
                Err(error) => (Err(refusal(&error)), Some(error)),
            };
            Done::new(Outcome::Answered {
                caller,
                mailbox,
                answer: Answer::List(ticket.answer(answer)),
                trouble,
            })
        });
        self.run(task, desk);
    }

    /// GETMETADATA.
    pub(super) fn metadata(
        &mut self,
        caller: Caller,
        ticket: Ticket<Result<Annotations, Refusal>>,
        root: Root,
        mailbox: Option<Vec<u8>>,
        desk: &mut Desk<'_>,
    ) {
        let of = match annotated(mailbox) {
            Ok(of) => of,
            Err(refused) => return desk.imap(caller, Answer::Metadata(ticket.answer(Err(refused)))),
        };
        let (ctx, mailbox) = (self.context.clone(), MailboxKey { root: root.clone(), folder: of.folder() });
        let task = Task::new(move |disk| async move {
            let (answer, trouble) = match metadata(disk, ctx, root, of).await {
                Ok(Metadata { entries, damage }) => (Ok(entries), damage),
                Err(error) => (Err(refusal(&error)), Some(error)),
            };
            Done::new(Outcome::Answered {
                caller,
                mailbox,
                answer: Answer::Metadata(ticket.answer(answer)),
                trouble,
            })
        });
        self.run(task, desk);
    }

    pub(super) fn create_folder(
        &mut self,
        caller: Caller,
        ticket: Ticket<Result<[u8; 16], Refusal>>,
        mailbox: Result<MailboxKey, Refusal>,
        special_use: Option<SpecialUse>,
        desk: &mut Desk<'_>,
    ) {
        let mailbox = match mailbox {
            Ok(mailbox) => mailbox,
            Err(refused) => return desk.imap(caller, Answer::Created(ticket.answer(Err(refused)))),
        };
        let (ctx, MailboxKey { root, folder }) = (self.context.clone(), mailbox.clone());
        let task = Task::new(move |disk| async move {
            let (answer, trouble) = match folders::create(disk, ctx, root, folder, special_use).await {
                Ok(guid) => (Ok(guid), None),
                Err(error) => (Err(refusal(&error)), Some(error)),
            };
            Done::new(Outcome::Answered {
                caller,
                mailbox,
                answer: Answer::Created(ticket.answer(answer)),
                trouble,
            })
        });
        self.run(task, desk);
    }

    pub(super) fn change_folder(
        &mut self,
        caller: Caller,
        ticket: Ticket<Result<(), Refusal>>,
        root: Root,
        change: FolderChange,
        desk: &mut Desk<'_>,
    ) {
        let (name, to) = match &change {
            FolderChange::Delete { mailbox } | FolderChange::Subscribe { mailbox, .. } => (mailbox, None),
            FolderChange::Rename { mailbox, to } => (mailbox, Some(to)),
        };
        let names = folder(name).and_then(|name| Ok((name, to.map(|to| folder(to)).transpose()?)));
        let (folder, to) = match names {
            Ok(names) => names,
            Err(refused) => return desk.imap(caller, Answer::Done(ticket.answer(Err(refused)))),
        };
        match change {
            FolderChange::Subscribe { subscribe, .. } => {
                let (ctx, mailbox) = (self.context.clone(), MailboxKey { root, folder });
                let MailboxKey { root, folder } = mailbox.clone();
                let change = move |disk| folders::subscribe(disk, ctx, root, folder, subscribe);
                self.run(folder_task(mailbox, caller, ticket, change), desk);
            }
            FolderChange::Delete { .. } | FolderChange::Rename { .. } => {
                let work = Work::Folder { caller, ticket, to };
                self.enqueue(MailboxKey { root, folder }, work, desk);
            }
        }
    }
}

/// A mailbox name as the session has it.
pub(super) fn folder(name: &[u8]) -> Result<FolderName, Refusal> {
    FolderName::new(name).map_err(|bad| Refusal::Cannot(bad_name(bad)))
}

/// What annotations are about: a mailbox, or without one the server.
pub(super) fn annotated(mailbox: Option<Vec<u8>>) -> Result<Annotated, Refusal> {
    mailbox.map_or(Ok(Annotated::Server), |name| folder(&name).map(Annotated::Mailbox))
}

/// A sentence for the person at the client.
pub(super) fn bad_name(bad: BadName) -> &'static str {
    match bad {
        BadName::Empty => "a mailbox name cannot be empty",
        BadName::EmptyLevel => "a mailbox name cannot begin or end with a dot, or have two dots side by side",
        BadName::Delimiter => "this character cannot be part of a mailbox name here",
        BadName::Character => "a mailbox name cannot contain / or control characters",
        BadName::Long => "the mailbox name is too long or too deep",
        BadName::Encoding => "the mailbox name is not modified UTF-7 (write & as &-)",
    }
}

pub(super) fn listed(folder: folders::ListedFolder) -> Folder {
    let non_existent = !folder.exists();
    let folders::ListedFolder { name, presence: _, subscribed, special_use } = folder;
    Folder { name: name.as_bytes().to_vec(), non_existent, subscribed, special_use }
}
