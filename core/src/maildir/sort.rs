//! SORT (RFC 5256, RFC 5957): the messages of a search in the order asked for.
//!
//! What is compared is taken from each message that matches: facts of the snapshot, and the header where they do not
//! do. Texts are compared by i;unicode-casemap ([`casemap`]), their first [`TEXT_BYTES_MAX`] octets only. The sort is
//! stable, so messages that are equal keep the order of the mailbox, and gives way to others now and then.
//!
//! Of a message whose file is gone nothing is told; of one that the system does not let us read, everything is empty.

use super::context::{Root, StoreError, StoreErrorKind};
use super::fetch::source::Source;
use super::folder::FolderName;
use super::headers::Headers;
use super::reader::{Failure, Reader};
use super::search::{Scope, search_with};
use crate::disk::Disk;
use crate::imap::sequence::UidSet;
use crate::imap::server::SearchQuery;
use crate::imap::sort::{SortCriterion, SortKey};
use crate::mime::address::{self, Entry};
use crate::mime::base_subject::BaseSubject;
use crate::mime::date::parse_rfc5322;
use crate::mime::envelope::Envelope;
use crate::mime::{casemap, encoded_word};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// So much of a text counts, in octets as they are compared.
pub const TEXT_BYTES_MAX: usize = 1024;
/// What a message is sorted by.
const ENVELOPE_FIELDS: &[&[u8]] = &[b"cc", b"date", b"from", b"subject", b"to"];
/// What it costs to compare two messages, in octets read at the same expense.
const COMPARISON_BYTES: usize = 64;
/// So many messages are sorted at once; then others have their turn.
const RUN: usize = 1024;

/// The UIDs that match, sorted.
///
/// # Errors
/// What the file system says of the mailbox, or of a message that had to be read.
pub async fn sort(
    disk: Disk,
    root: Root,
    folder: FolderName,
    scope: Scope,
    query: Arc<SearchQuery>,
    criteria: Vec<SortCriterion>,
) -> Result<Vec<u32>, StoreError> {
    let mut reader = Reader::new(disk, root, folder);
    let sorted = sort_with(&mut reader, &scope, &query, &criteria).await;
    reader.finish().await;
    sorted
}

async fn sort_with(
    reader: &mut Reader,
    scope: &Scope,
    query: &SearchQuery,
    criteria: &[SortCriterion],
) -> Result<Vec<u32>, StoreError> {
    let found = search_with(reader, scope, query).await?;
    let mut headers =
        Headers::open(reader, scope.cache.as_ref(), ENVELOPE_FIELDS.iter().copied(), &found).await;
    let table = read_all(reader, scope, &found, criteria, &mut headers).await;
    headers.close(reader).await;
    let table = table?;
    let rows = (0..table.uids.len()).collect();
    let rows = sorted(reader, rows, |a, b| table.compare(*a, *b, criteria)).await;
    Ok(rows.into_iter().filter_map(|row| table.uids.get(row).copied()).collect())
}

async fn read_all(
    reader: &mut Reader,
    scope: &Scope,
    found: &UidSet,
    criteria: &[SortCriterion],
    headers: &mut Headers,
) -> Result<Table, StoreError> {
    let mut table = Table::default();
    for range in found.ranges() {
        for message in scope.messages.range(range.first, range.last) {
            let mut source = Source::new(message);
            let facts = Facts::read(reader, &mut source, headers, criteria).await;
            source.close(reader).await;
            let facts = match facts {
                Ok(facts) => facts,
                Err(Failure::Gone) => continue,
                Err(Failure::Store(error)) if error.kind == StoreErrorKind::Access => Facts::default(),
                Err(Failure::Store(error)) => return Err(error),
            };
            table.push(message.uid, &facts, criteria);
        }
    }
    Ok(table)
}

/// What is known of a message.
#[derive(Debug, Default)]
struct Facts {
    arrived: i64,
    size: u64,
    envelope: Envelope,
}

impl Facts {
    /// Reads what the criteria need.
    async fn read(
        reader: &mut Reader,
        source: &mut Source<'_>,
        headers: &mut Headers,
        criteria: &[SortCriterion],
    ) -> Result<Facts, Failure> {
        let mut facts = Facts::default();
        let needs = |wanted: &[SortKey]| criteria.iter().any(|criterion| wanted.contains(&criterion.key));
        let of_header =
            !criteria.iter().all(|criterion| matches!(criterion.key, SortKey::Arrival | SortKey::Size));
        if of_header {
            facts.envelope = Envelope::from_header(headers.read(reader, source).await?);
        }
        if needs(&[SortKey::Size]) {
            facts.size = match source.message.wire_size {
                Some(size) => size,
                None => source.count(reader).await?,
            };
        }
        if needs(&[SortKey::Arrival, SortKey::Date]) {
            facts.arrived = match source.internal_date() {
                Some(date) => date,
                None => reader.stat(source.message).await?.mtime_ns.div_euclid(1_000_000_000),
            };
        }
        Ok(facts)
    }

    fn number(&self, key: SortKey) -> i64 {
        match key {
            SortKey::Arrival => self.arrived,
            SortKey::Date => sent(&self.envelope, self.arrived),
            SortKey::Size => i64::try_from(self.size).unwrap_or(i64::MAX),
            SortKey::Cc
            | SortKey::DisplayFrom
            | SortKey::DisplayTo
            | SortKey::From
            | SortKey::Subject
            | SortKey::To => 0,
        }
    }

    fn text(&self, key: SortKey) -> String {
        let envelope = &self.envelope;
        match key {
            SortKey::Arrival | SortKey::Date | SortKey::Size => String::new(),
            SortKey::Cc => first_mailbox(envelope.cc.as_deref()),
            SortKey::From => first_mailbox(envelope.from.as_deref()),
            SortKey::To => first_mailbox(envelope.to.as_deref()),
            SortKey::DisplayFrom => first_name(envelope.from.as_deref()),
            SortKey::DisplayTo => first_name(envelope.to.as_deref()),
            SortKey::Subject => BaseSubject::of(envelope.subject.as_deref().unwrap_or_default()).text,
        }
    }
}

/// When a message was sent: what its Date field says, in UTC, or else when it arrived (RFC 5256 §2.2).
pub(super) fn sent(envelope: &Envelope, arrived: i64) -> i64 {
    let date = envelope.date.as_deref().and_then(parse_rfc5322);
    date.map_or(arrived, |date| date.unix_seconds)
}

/// The addr-mailbox of the first address, as ENVELOPE has it: of a group its name.
fn first_mailbox(field: Option<&[u8]>) -> String {
    match field.map(address::parse).unwrap_or_default().first() {
        Some(Entry::Mailbox(address)) => String::from_utf8_lossy(&address.mailbox).into_owned(),
        Some(Entry::GroupStart(name)) => encoded_word::decode(name),
        Some(Entry::GroupEnd) | None => String::new(),
    }
}

/// RFC 5957 §3: the display name, or the address if there is none.
fn first_name(field: Option<&[u8]>) -> String {
    match field.map(address::parse).unwrap_or_default().first() {
        Some(Entry::Mailbox(address)) if address.name.is_empty() => {
            let whole = [&address.mailbox[..], b"@", &address.host].concat();
            String::from_utf8_lossy(&whole).into_owned()
        }
        Some(Entry::Mailbox(address)) => encoded_word::decode(&address.name),
        Some(Entry::GroupStart(name)) => encoded_word::decode(name),
        Some(Entry::GroupEnd) | None => String::new(),
    }
}

/// What is compared of all messages, in one piece of memory.
#[derive(Debug, Default)]
struct Table {
    uids: Vec<u32>,
    /// For each message as many as there are criteria.
    values: Vec<Value>,
    texts: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Value {
    Number(i64),
    /// Where it is in `texts`.
    Text(usize, usize),
}

impl Table {
    fn push(&mut self, uid: u32, facts: &Facts, criteria: &[SortCriterion]) {
        self.uids.push(uid);
        for SortCriterion { key, .. } in criteria {
            self.values.push(match key {
                SortKey::Arrival | SortKey::Date | SortKey::Size => Value::Number(facts.number(*key)),
                SortKey::Cc
                | SortKey::DisplayFrom
                | SortKey::DisplayTo
                | SortKey::From
                | SortKey::Subject
                | SortKey::To => {
                    let start = self.texts.len();
                    casemap::fold(&facts.text(*key), &mut self.texts);
                    let end = self.texts.len().min(start.saturating_add(TEXT_BYTES_MAX));
                    self.texts.truncate(end);
                    Value::Text(start, end)
                }
            });
        }
    }

    fn compare(&self, a: usize, b: usize, criteria: &[SortCriterion]) -> Ordering {
        let values = |row: usize| {
            let start = row.saturating_mul(criteria.len());
            self.values.get(start..).unwrap_or_default().iter().take(criteria.len())
        };
        for ((a, b), criterion) in values(a).zip(values(b)).zip(criteria) {
            let order = match (*a, *b) {
                (Value::Number(a), Value::Number(b)) => a.cmp(&b),
                (Value::Text(a, a_end), Value::Text(b, b_end)) => {
                    self.texts.get(a..a_end).cmp(&self.texts.get(b..b_end))
                }
                // A criterion has one kind of value.
                (Value::Number(_), Value::Text(..)) | (Value::Text(..), Value::Number(_)) => Ordering::Equal,
            };
            if order != Ordering::Equal {
                return if criterion.reverse { order.reverse() } else { order };
            }
        }
        Ordering::Equal
    }
}

/// Sorts in runs that become longer and longer; between two of them others have their turn.
async fn sorted<T: Copy>(
    reader: &mut Reader,
    mut rows: Vec<T>,
    compare: impl Fn(&T, &T) -> Ordering,
) -> Vec<T> {
    for run in rows.chunks_mut(RUN) {
        run.sort_by(&compare);
        reader.spend(run.len().saturating_mul(COMPARISON_BYTES)).await;
    }
    let mut width = RUN;
    while width < rows.len() {
        let mut merged = Vec::with_capacity(rows.len());
        for pair in rows.chunks(width.saturating_mul(2)) {
            let (mut left, mut right) = pair.split_at(width.min(pair.len()));
            while let ([a, left_rest @ ..], [b, right_rest @ ..]) = (left, right) {
                if compare(a, b) == Ordering::Greater {
                    merged.push(*b);
                    right = right_rest;
                } else {
                    merged.push(*a);
                    left = left_rest;
                }
                if merged.len() % RUN == 0 {
                    reader.spend(RUN.saturating_mul(COMPARISON_BYTES)).await;
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        rows = merged;
        width = width.saturating_mul(2);
    }
    rows
}

#[cfg(test)]
mod tests;
