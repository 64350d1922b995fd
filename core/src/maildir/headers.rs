//! Header fields of many messages, for SEARCH, SORT and THREAD: from the cache file, or from the messages and then for
//! the cache file.

use super::cache::{Directory, Kind, Writer};
use super::cache_file::{Cache, append};
use super::fetch::source::Source;
use super::kept_fields::KeptFields;
use super::reader::{Failure, Reader};
use crate::imap::sequence::UidSet;
use alloc::sync::Arc;

/// So much is gathered before it is appended to the file, in octets.
const APPENDED_BYTES: usize = 256 * 1024;

/// The way to the headers.
#[derive(Debug)]
pub(super) struct Headers(Option<Kept>);

#[derive(Debug)]
struct Kept {
    fields: KeptFields,
    cache: Cache,
    found: Writer,
}

impl Headers {
    /// For the fields with these names, of messages among `within`. Without a directory all are read.
    pub(super) async fn open<'n>(
        reader: &mut Reader,
        directory: Option<&Arc<Directory>>,
        names: impl Iterator<Item = &'n [u8]>,
        within: &UidSet,
    ) -> Headers {
        let range = within.first().zip(within.ranges().last().map(|range| range.last));
        let (Some(fields), Some(directory), Some(range)) = (KeptFields::new(names), directory, range) else {
            return Headers(None);
        };
        let cache = Cache::open(reader, directory.clone(), fields.wanted.clone(), range).await;
        Headers(Some(Kept { fields, cache, found: Writer::default() }))
    }

    /// The header of a message, or at least all of its fields that were asked for.
    pub(super) async fn read<'h>(
        &'h mut self,
        reader: &mut Reader,
        source: &'h mut Source<'_>,
    ) -> Result<&'h [u8], Failure> {
        let Some(kept) = &mut self.0 else { return source.read_header(reader).await };
        let hit = kept.cache.look(reader, source.message).await;
        if hit.has(Kind::Fields) {
            return Ok(kept.cache.text(&hit, Kind::Fields).unwrap_or_default());
        }
        let message = source.message;
        let header = source.read_header(reader).await?;
        let fields = kept.fields.of_header(header);
        let row = [(Kind::Fields, &fields[..])];
        kept.found.push(message.uid, message.base(), &kept.fields.names, row.into_iter());
        if kept.found.len() >= APPENDED_BYTES {
            kept.append(reader).await;
        }
        Ok(header)
    }

    /// Keeps what was read.
    pub(super) async fn close(self, reader: &mut Reader) {
        if let Some(mut kept) = self.0 {
            kept.append(reader).await;
        }
    }
}

impl Kept {
    async fn append(&mut self, reader: &mut Reader) {
        let octets = self.found.take();
        if !octets.is_empty() && self.cache.is_good() {
            // What is not kept is read again.
            let _ = append(reader, octets).await;
        }
    }
}
