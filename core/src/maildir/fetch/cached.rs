//! What of a FETCH comes from the cache file, and what goes there.

use super::item::{self, Needs, Output};
use super::source::Source;
use super::{FetchItem, Message};
use crate::imap::fetch::{FieldNames, Partial, SectionKind};
use crate::maildir::cache::{CACHE_ITEM_BYTES_MAX, Directory, Kind, Writer};
use crate::maildir::cache_file::{Cache, Hit};
use crate::maildir::kept_fields::KeptFields;
use crate::maildir::reader::Reader;
use crate::mime::structure::Piece;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// So much of a page is kept, in octets.
const PAGE_KEPT_BYTES_MAX: usize = 1024 * 1024;

/// The cache as a page uses it.
#[derive(Debug)]
pub(super) struct Cached {
    cache: Cache,
    /// Which fields are kept if some are asked for.
    fields: KeptFields,
    /// What was asked for and is not in the cache.
    found: Writer,
    /// The texts of the row that is being made.
    row: Vec<(Kind, Vec<u8>)>,
}

/// The kind of text that answers an item.
pub(super) fn kind_of(item: &FetchItem) -> Option<Kind> {
    match item {
        FetchItem::Envelope => Some(Kind::Envelope),
        FetchItem::Body => Some(Kind::Body),
        FetchItem::BodyStructure => Some(Kind::BodyStructure),
        FetchItem::Preview => Some(Kind::Preview),
        item => fields_of(item).map(|_| Kind::Fields),
    }
}

/// `BODY[HEADER.FIELDS (…)]` of the message itself.
fn fields_of(item: &FetchItem) -> Option<(&FieldNames, Option<Partial>)> {
    match item {
        FetchItem::Section(section) if section.section.part.is_empty() => match &section.section.kind {
            SectionKind::HeaderFields { not: false, names } => Some((names, section.partial)),
            SectionKind::HeaderFields { not: true, .. }
            | SectionKind::Full
            | SectionKind::Header
            | SectionKind::Text
            | SectionKind::Mime => None,
        },
        _ => None,
    }
}

impl Cached {
    /// The cache, if it can have something for these items and messages.
    pub(super) async fn open(
        reader: &mut Reader,
        directory: Arc<Directory>,
        items: &[FetchItem],
        messages: &[Message],
    ) -> Option<Cached> {
        let (first, last) = (messages.first()?.uid, messages.last()?.uid);
        if !items.iter().any(|item| kind_of(item).is_some()) {
            return None;
        }
        let names = items.iter().filter_map(fields_of).flat_map(|(names, _)| names.iter()).map(str::as_bytes);
        let fields = KeptFields::new(names)?;
        let cache = Cache::open(reader, directory, fields.wanted.clone(), (first, last)).await;
        Some(Cached { cache, fields, found: Writer::default(), row: Vec::new() })
    }

    /// Looks for a message, with which the next row begins.
    pub(super) async fn look(&mut self, reader: &mut Reader, message: &Message) -> Hit {
        self.row.clear();
        self.cache.look(reader, message).await
    }

    /// Writes the value of an item, if it is in the cache.
    pub(super) fn write(&self, item: &FetchItem, hit: &Hit, output: &mut Output) -> bool {
        let Some(kind) = kind_of(item) else { return false };
        let Some(text) = self.cache.text(hit, kind) else { return false };
        match fields_of(item) {
            Some((names, partial)) => item::write_fields(text, (false, names), partial, output),
            None => output.bytes.extend_from_slice(text),
        }
        true
    }

    /// Keeps the value of an item that was made from the message.
    pub(super) async fn learn(
        &mut self,
        item: &FetchItem,
        value: &[u8],
        reader: &mut Reader,
        source: &mut Source<'_>,
    ) {
        let Some(kind) = kind_of(item).filter(|_| self.found.len() < PAGE_KEPT_BYTES_MAX) else { return };
        if self.row.iter().any(|(known, _)| *known == kind) {
            return;
        }
        let value = if kind == Kind::Fields {
            let Ok(Some(extent)) = source.extent(reader, &[], Piece::Header).await else { return };
            let Ok(block) = source.block(reader, &extent).await else { return };
            self.fields.of_header(&block)
        } else {
            value.to_vec()
        };
        if value.len() <= CACHE_ITEM_BYTES_MAX {
            self.row.push((kind, value));
        }
    }

    /// The row is made.
    pub(super) fn keep(&mut self, message: &Message) {
        if self.row.is_empty() {
            return;
        }
        self.row.sort_by_key(|(kind, _)| *kind as usize);
        let texts = self.row.iter().map(|(kind, text)| (*kind, &text[..]));
        self.found.push(message.uid, message.base(), &self.fields.names, texts);
    }

    /// The page is made: what was found out goes to the file.
    pub(super) async fn close(self, reader: &mut Reader) -> Arc<Directory> {
        self.cache.append(reader, self.found).await
    }
}

/// What has to be looked up for a message of which the cache says something.
pub(super) fn missing(items: &[FetchItem], hit: &Hit) -> Needs {
    Needs::of(items.iter().filter(|item| !kind_of(item).is_some_and(|kind| hit.has(kind))))
}
