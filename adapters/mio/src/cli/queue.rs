//! `postier queue …`: what waits to be sent, and what an operator may do about it.
//!
//! The files in the queue say everything, so looking needs no server. A change is the running server's to make; where none
//! runs, the files are changed as it would, by the user that it would be.

use std::fs;
use std::io;
use std::path::PathBuf;

use postier_core::disk::{Disk, Task};
use postier_core::maildir::context::{Root, StoreError};
use postier_core::mime::date::format_rfc5322;
use postier_core::queue::envelope::{Envelope, Recipient, State};
use postier_core::queue::spool::{self, QueueId};
use postier_host::config::Settings;
use postier_host::disk::{DiskExecutor, Ended, drive};
use postier_host::files::DirectFiles;
use postier_host::identity::Identity;
use serde_json::{Value, json};

use super::control::{self, Told};
use super::output::{Failure, complain, say, say_json};
use super::{ConfigArg, QueueArgs};

/// What is done to one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Retry,
    Hold,
    Release,
    Remove,
}

impl Change {
    /// As the server's control socket has it.
    fn verb(self) -> &'static str {
        match self {
            Change::Retry => "retry",
            Change::Hold => "hold",
            Change::Release => "release",
            Change::Remove => "remove",
        }
    }
}

/// One message.
struct Entry {
    id: String,
    envelope: Envelope,
}

/// The queue of a configuration.
struct Spool {
    settings: Settings,
    mail: PathBuf,
}

pub(super) fn list(config: &ConfigArg, json: bool) -> Result<(), Failure> {
    let spool = Spool::open(config)?;
    let entries = spool.entries()?;
    if json {
        say_json(&entries.iter().map(as_json).collect());
        return Ok(());
    }
    if entries.is_empty() {
        complain("the queue is empty");
    }
    for entry in &entries {
        say(&summary(entry));
    }
    Ok(())
}

pub(super) fn show(args: &QueueArgs, json: bool) -> Result<(), Failure> {
    let spool = Spool::open(&args.config)?;
    let entry = spool.entry(&args.id)?;
    if json {
        say_json(&as_json(&entry));
        return Ok(());
    }
    say(&summary(&entry));
    let message = fs::read(spool.mail.join(format!("{}.m", entry.id)));
    let message = message.map_err(|error| Failure::io("the message cannot be read", &error))?;
    let header = message.windows(2).position(|pair| pair == b"\n\n").map_or(message.len(), |end| end + 1);
    say("\n");
    say(&printable(message.get(..header).unwrap_or_default()));
    Ok(())
}

pub(super) fn change(args: &QueueArgs, change: Change) -> Result<(), Failure> {
    let spool = Spool::open(&args.config)?;
    let id = spool.entry(&args.id)?.id;
    match spool.tell(&format!("queue {} {id}\n", change.verb()))? {
        Told::Done => {}
        Told::NobodyThere => spool.change_files(&[id], change)?,
        Told::Refused(why) => return Err(Failure::Failed(why)),
    }
    Ok(())
}

pub(super) fn flush(config: &ConfigArg) -> Result<(), Failure> {
    let spool = Spool::open(config)?;
    match spool.tell("queue flush\n")? {
        Told::Done => Ok(()),
        Told::NobodyThere => {
            let ids: Vec<String> = spool.entries()?.into_iter().map(|entry| entry.id).collect();
            spool.change_files(&ids, Change::Retry)
        }
        Told::Refused(why) => Err(Failure::Failed(why)),
    }
}

/// What is said of a message, if it is in the queue.
pub(super) fn waiting(config: &ConfigArg, id: &str) -> Result<Option<String>, Failure> {
    let spool = Spool::open(config)?;
    if !is_id(id) {
        return Ok(None);
    }
    match spool.read(id) {
        Ok(envelope) => Ok(envelope.map(|envelope| summary(&Entry { id: id.to_owned(), envelope }))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::io(spool.mail.display(), &error)),
    }
}

impl Spool {
    fn open(config: &ConfigArg) -> Result<Self, Failure> {
        let settings = Settings::read(&config.config, &DirectFiles)?;
        let mail = settings.state.join("queue/mail");
        Ok(Self { settings, mail })
    }

    /// Everything that is queued, the oldest first. What goes away meanwhile is not there.
    fn entries(&self) -> Result<Vec<Entry>, Failure> {
        let names = match fs::read_dir(&self.mail) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Failure::io(self.mail.display(), &error)),
        };
        let mut entries = Vec::new();
        for name in names {
            let name = name.map_err(|error| Failure::io(self.mail.display(), &error))?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".e")) else { continue };
            match self.read(id) {
                Ok(Some(envelope)) => entries.push(Entry { id: id.to_owned(), envelope }),
                Ok(None) => complain(&format!("{} is damaged", self.mail.join(&name).display())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Failure::io(self.mail.join(&name).display(), &error)),
            }
        }
        entries
            .sort_by(|one, other| (one.envelope.arrived, &one.id).cmp(&(other.envelope.arrived, &other.id)));
        Ok(entries)
    }

    fn entry(&self, id: &str) -> Result<Entry, Failure> {
        let missing =
            || Failure::Failed(format!("no message {id} in the queue; `postier queue list` shows all"));
        if !is_id(id) {
            return Err(missing());
        }
        match self.read(id) {
            Ok(Some(envelope)) => Ok(Entry { id: id.to_owned(), envelope }),
            Ok(None) => Err(Failure::Failed(format!("the envelope of {id} is damaged"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
            Err(error) => Err(Failure::io(self.mail.display(), &error)),
        }
    }

    fn read(&self, id: &str) -> io::Result<Option<Envelope>> {
        fs::read(self.mail.join(format!("{id}.e"))).map(|file| Envelope::from_file(&file))
    }

    fn tell(&self, line: &str) -> Result<Told, Failure> {
        control::tell(&self.settings.state, line)
            .map_err(|error| Failure::io("the running server cannot be told", &error))
    }

    /// Does what the server would do, as the user that it would be.
    fn change_files(&self, ids: &[String], change: Change) -> Result<(), Failure> {
        let user = &self.settings.user.value;
        let identity = Identity::lookup(user).map_err(|error| Failure::io(user, &error))?;
        if let Some(identity) = identity
            && !identity.is_current()
        {
            identity.assume().map_err(|error| Failure::io(format!("cannot become {user}"), &error))?;
        }
        let path = self.settings.state.join("queue");
        let root = Root::new(path.as_os_str().as_encoded_bytes());
        for id in ids {
            let (id, root): (QueueId, _) = (id.as_str().into(), root.clone());
            run(Task::new(|disk| change_one(disk, root, id, change)))
                .map_err(|why| Failure::Failed(format!("{}: {why}", path.display())))?;
        }
        Ok(())
    }
}

/// An id is a name in a directory.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
}

async fn change_one(disk: Disk, root: Root, id: QueueId, change: Change) -> Result<(), StoreError> {
    if change == Change::Remove {
        return spool::remove(disk, root, id).await;
    }
    let mut envelope = spool::load(disk.clone(), root.clone(), id.clone()).await?;
    match change {
        Change::Retry | Change::Remove => {
            for recipient in &mut envelope.recipients {
                if let State::Waiting { next, .. } = &mut recipient.state {
                    *next = 0;
                }
            }
        }
        Change::Hold | Change::Release => envelope.held = change == Change::Hold,
    }
    spool::note(disk, root, id, envelope).await
}

fn run<T>(mut task: Task<Result<T, StoreError>>) -> Result<T, String> {
    match drive(&mut task, &mut DiskExecutor::default()) {
        Ended::Done(result) => result.map_err(|error| error.to_string()),
        Ended::NeedInput | Ended::Wait(_) => Err("the queue is in use".to_owned()),
    }
}

fn summary(entry: &Entry) -> String {
    let Envelope { arrived, reverse_path, size, held, .. } = &entry.envelope;
    let from = if reverse_path.is_empty() { "<>" } else { reverse_path };
    let held = if *held { ", held" } else { "" };
    let date = format_rfc5322(*arrived, 0);
    let from = printable(from.as_bytes());
    let mut text = format!("{}  {size} octets  {date}  from {from}{held}\n", entry.id);
    for recipient in &entry.envelope.recipients {
        text.push_str(&format!("    {}\n", printable(line(recipient).as_bytes())));
    }
    text
}

fn line(recipient: &Recipient) -> String {
    let to = &recipient.forward_path;
    match &recipient.state {
        State::Waiting { attempts: 0, last, .. } if last.is_empty() => format!("{to}: not tried yet"),
        State::Waiting { next, attempts, last } => {
            let next = if *next == 0 { "now".to_owned() } else { format_rfc5322(*next, 0) };
            let tried = match attempts {
                // The server is known to be down from the tries of others.
                0 => "not tried".to_owned(),
                1 => "tried once".to_owned(),
                attempts => format!("tried {attempts} times"),
            };
            format!("{to}: {tried}, next {next}: {last}")
        }
        State::Delivered { reply, .. } => format!("{to}: sent: {reply}"),
        State::Failed { why, .. } => format!("{to}: failed: {why}"),
    }
}

fn as_json(entry: &Entry) -> Value {
    let envelope = &entry.envelope;
    let recipients: Vec<Value> = envelope.recipients.iter().map(recipient_json).collect();
    json!({
        "id": entry.id,
        "arrived": envelope.arrived,
        "from": envelope.reverse_path,
        "size": envelope.size,
        "held": envelope.held,
        "recipients": recipients,
    })
}

fn recipient_json(recipient: &Recipient) -> Value {
    let to = &recipient.forward_path;
    match &recipient.state {
        State::Waiting { next, attempts, last } => {
            json!({ "to": to, "state": "waiting", "next": next, "attempts": attempts, "reply": last })
        }
        State::Delivered { at, reply } => json!({ "to": to, "state": "sent", "at": at, "reply": reply }),
        State::Failed { at, why } => json!({ "to": to, "state": "failed", "at": at, "reply": why }),
    }
}

/// A value in quotes, where nothing moves the cursor.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", printable(text.as_bytes()))
}

/// Text that moves no cursor.
fn printable(octets: &[u8]) -> String {
    let shown =
        |c: char| if c.is_control() && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
    String::from_utf8_lossy(octets).chars().map(shown).collect()
}
