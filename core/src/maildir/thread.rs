//! THREAD (RFC 5256): the messages of a search in threads.
//!
//! Each message that matches has its header read for what the algorithm wants; [`Threader`] does the rest. Of a message
//! whose file is gone nothing is told; one that the system does not let us read is a thread by itself.

use super::context::{Root, StoreError, StoreErrorKind};
use super::fetch::source::Source;
use super::folder::FolderName;
use super::headers::Headers;
use super::reader::{Failure, Reader};
use super::search::{Scope, search_with};
use super::sort::{TEXT_BYTES_MAX, sent};
use crate::disk::Disk;
use crate::imap::sequence::UidSet;
use crate::imap::server::SearchQuery;
use crate::imap::thread::{Algorithm, ThreadMessage, Threader, Threads};
use crate::mime::base_subject::BaseSubject;
use crate::mime::casemap;
use crate::mime::envelope::Envelope;
use crate::mime::header::find;
use crate::mime::message_id::message_ids;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What the algorithms look at.
const FIELDS: &[&[u8]] = &[b"date", b"in-reply-to", b"message-id", b"references", b"subject"];

/// The messages that match, in threads.
///
/// # Errors
/// What the file system says of the mailbox, or of a message that had to be read.
pub async fn thread(
    disk: Disk,
    root: Root,
    folder: FolderName,
    scope: Scope,
    query: Arc<SearchQuery>,
    algorithm: Algorithm,
) -> Result<Threads, StoreError> {
    let mut reader = Reader::new(disk, root, folder);
    let threads = thread_with(&mut reader, &scope, &query, algorithm).await;
    reader.finish().await;
    threads
}

async fn thread_with(
    reader: &mut Reader,
    scope: &Scope,
    query: &SearchQuery,
    algorithm: Algorithm,
) -> Result<Threads, StoreError> {
    let found = search_with(reader, scope, query).await?;
    let mut headers = Headers::open(reader, scope.cache.as_ref(), FIELDS.iter().copied(), &found).await;
    let threads = read_all(reader, scope, &found, algorithm, &mut headers).await;
    headers.close(reader).await;
    threads
}

async fn read_all(
    reader: &mut Reader,
    scope: &Scope,
    found: &UidSet,
    algorithm: Algorithm,
    headers: &mut Headers,
) -> Result<Threads, StoreError> {
    let mut threader = Threader::new(algorithm);
    for range in found.ranges() {
        for message in scope.messages.range(range.first, range.last) {
            let mut source = Source::new(message);
            let read = match headers.read(reader, &mut source).await {
                Ok(header) => {
                    let facts = facts(header, algorithm);
                    source.look_up_date(reader).await.map(|()| facts)
                }
                Err(failure) => Err(failure),
            };
            let arrived = source.internal_date().unwrap_or_default();
            source.close(reader).await;
            let (envelope, mut facts) = match read {
                Ok(read) => read,
                Err(Failure::Gone) => continue,
                Err(Failure::Store(error)) if error.kind == StoreErrorKind::Access => Default::default(),
                Err(Failure::Store(error)) => return Err(error),
            };
            (facts.uid, facts.sent) = (message.uid, sent(&envelope, arrived));
            threader.push(facts);
        }
    }
    Ok(threader.finish())
}

/// What a header says.
fn facts(header: &[u8], algorithm: Algorithm) -> (Envelope, ThreadMessage) {
    let envelope = Envelope::from_header(header);
    let subject = BaseSubject::of(envelope.subject.as_deref().unwrap_or_default());
    let mut message = ThreadMessage { is_reply: subject.is_reply, ..ThreadMessage::default() };
    casemap::fold(&subject.text, &mut message.subject);
    message.subject.truncate(TEXT_BYTES_MAX);
    if algorithm == Algorithm::References {
        message.id = envelope.message_id.as_deref().and_then(|value| message_ids(value).next());
        let references =
            find(header, b"References").map(|field| message_ids(field.value).collect::<Vec<_>>());
        message.references = references.unwrap_or_default();
        if message.references.is_empty() {
            // RFC 5256 §3: of several identifiers in it only the first can be trusted.
            let answered = envelope.in_reply_to.as_deref().and_then(|value| message_ids(value).next());
            message.references.extend(answered);
        }
    }
    (envelope, message)
}

#[cfg(test)]
mod tests;
