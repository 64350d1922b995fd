//! Reading and writing `postier.cache`: what was read of a message once is not read again.
//!
//! ```text
//! nothing ─a page was read─▶ postier.cache ─blocks appended, while it is good─▶
//!         ─most of it is of no use─▶ postier.cache.tmp with what is ─rename─▶ postier.cache
//! ```
//!
//! Nothing of it is synced, and no failure is one of the mailbox: a block that a crash has torn has a wrong checksum, and
//! what cannot be written is found out again. Any number of tasks may read and append at the same time: a block
//! is one write at the end of the file, and each task looks for the blocks that have come since it, or somebody else,
//! looked last.

use super::cache::{
    BLOCK_HEADER_BYTES, Block, Directory, Entry, FILE_HEADER_BYTES, Kind, Text, Writer, file_header, identity,
};
use super::context::Root;
use super::folder::FolderName;
use super::mailbox::{Message, Messages};
use super::reader::Reader;
use crate::disk::{Disk, Errno, Handle, Stat};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

const CACHE_NAME: &[u8] = b"postier.cache";
const CACHE_TEMPORARY: &[u8] = b"postier.cache.tmp";
/// Blocks of so many octets are in memory at once.
const LOADED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// So much is written at once when a file is written anew, in octets.
const WRITE_BYTES: usize = 256 * 1024;

/// The cache of a mailbox, as one task reads it.
#[derive(Debug)]
pub(super) struct Cache {
    directory: Arc<Directory>,
    file: Option<Handle>,
    /// Names of header fields that must all be there, in lower case.
    names: Vec<String>,
    /// Blocks about the UIDs that are asked for, the latest first.
    near: Vec<Entry>,
    /// Those of them about the messages in a range of UIDs, in which no block begins but at its start.
    here: (RangeInclusive<u32>, Vec<Entry>),
    /// Those of them that were read; `None` for one that cannot be.
    blocks: BTreeMap<u64, Option<Block>>,
    weight: usize,
}

/// Where the texts about one message are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hit([Option<(u64, Text)>; Kind::COUNT]);

impl Hit {
    pub(super) fn has(&self, kind: Kind) -> bool {
        self.0.get(kind as usize).is_some_and(Option::is_some)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

impl Cache {
    /// Opens the file, if there is one, to look for messages with UIDs from `first` to `last`.
    pub(super) async fn open(
        reader: &mut Reader,
        directory: Arc<Directory>,
        names: Vec<String>,
        (first, last): (u32, u32),
    ) -> Cache {
        let (near, blocks) = (Vec::new(), BTreeMap::new());
        let here = (RangeInclusive::new(1, 0), Vec::new());
        let mut cache = Cache { directory, file: None, names, near, here, blocks, weight: 0 };
        let Ok(mailbox) = reader.mailbox().await else { return cache };
        match reader.scope.disk.open_file(mailbox, CACHE_NAME).await {
            Ok((file, stat)) => {
                cache.file = Some(reader.scope.hold(file));
                cache.look_for_blocks(reader, file, &stat).await;
            }
            Err(Errno::NotFound) => cache.forget(),
            Err(_) => {}
        }
        let is_near = |entry: &&Entry| entry.first <= last && entry.last >= first;
        cache.near = cache.directory.blocks.iter().rev().filter(is_near).copied().collect();
        cache
    }

    fn forget(&mut self) {
        if *self.directory != Directory::default() {
            self.directory = Arc::default();
        }
    }

    /// Reads the headers of the blocks that have come since the last look.
    async fn look_for_blocks(&mut self, reader: &mut Reader, file: Handle, stat: &Stat) {
        let identity = Some((stat.inode, stat.device));
        if self.directory.file != identity || stat.size < self.directory.end {
            let header = reader.scope.disk.read(file, 0, FILE_HEADER_BYTES).await;
            let damaged = header != Ok(file_header());
            let directory =
                Directory { file: identity, end: FILE_HEADER_BYTES as u64, blocks: Vec::new(), damaged };
            self.directory = Arc::new(directory);
        }
        while !self.directory.damaged && self.directory.end < stat.size {
            let start = self.directory.end;
            let header = reader.scope.disk.read(file, start, BLOCK_HEADER_BYTES).await.unwrap_or_default();
            reader.spend(header.len()).await;
            let entry = Entry::decode(&header, start.saturating_add(BLOCK_HEADER_BYTES as u64));
            let is_whole = |entry: &Entry| entry.offset + u64::from(entry.bytes) <= stat.size;
            let directory = Arc::make_mut(&mut self.directory);
            if !entry.filter(is_whole).is_some_and(|entry| directory.push(entry)) {
                directory.damaged = true;
            }
        }
    }

    /// What the file says about a message.
    pub(super) async fn look(&mut self, reader: &mut Reader, message: &Message) -> Hit {
        let mut hit = Hit::default();
        if self.near.is_empty() {
            return hit;
        }
        if self.weight > LOADED_BYTES_MAX {
            self.blocks.clear();
            self.weight = 0;
        }
        let identity = identity(message.base());
        self.go_to(message.uid);
        for index in 0..self.here.1.len() {
            let Some(entry) = self.here.1.get(index).copied() else { break };
            if !(entry.first..=entry.last).contains(&message.uid) {
                continue;
            }
            if !self.blocks.contains_key(&entry.offset) {
                self.load(reader, &entry).await;
            }
            let Some(Some(block)) = self.blocks.get(&entry.offset) else { continue };
            for (kind, place) in Kind::ALL.into_iter().zip(&mut hit.0) {
                let found = || block.find(message.uid, identity, kind).map(|text| (entry.offset, text));
                *place = place.or_else(found);
            }
        }
        hit
    }

    /// Finds the blocks about the messages from here to where the next block begins: who goes through a large mailbox
    /// goes through all blocks once for each of them, not for each message.
    fn go_to(&mut self, uid: u32) {
        if self.here.0.contains(&uid) {
            return;
        }
        let next = self.near.iter().map(|entry| entry.first).filter(|first| *first > uid).min();
        let last = next.map_or(u32::MAX, |next| next.saturating_sub(1));
        let is_here = |entry: &&Entry| entry.first <= uid && entry.last >= uid;
        self.here = (uid..=last, self.near.iter().filter(is_here).copied().collect());
    }

    async fn load(&mut self, reader: &mut Reader, entry: &Entry) {
        let Some(file) = self.file else { return };
        let octets = reader.scope.disk.read(file, entry.offset, entry.bytes as usize).await;
        reader.spend(entry.bytes as usize).await;
        let block = octets.ok().and_then(|octets| Block::decode(entry, octets, &self.names));
        match &block {
            Some(block) => self.weight = self.weight.saturating_add(block.weight()),
            None => Arc::make_mut(&mut self.directory).remove(entry.offset),
        }
        self.blocks.insert(entry.offset, block);
    }

    /// A text of the message that was looked for last.
    pub(super) fn text(&self, hit: &Hit, kind: Kind) -> Option<&[u8]> {
        let (block, text) = self.place(hit, kind)?;
        Some(block.text(text))
    }

    fn place(&self, hit: &Hit, kind: Kind) -> Option<(&Block, Text)> {
        let (offset, text) = (*hit.0.get(kind as usize)?)?;
        Some((self.blocks.get(&offset)?.as_ref()?, text))
    }

    /// Whether something can be appended to the file.
    pub(super) fn is_good(&self) -> bool {
        !self.directory.damaged
    }

    /// Appends what was found out, unless the file has to be written anew; tells what is known of the file now.
    pub(super) async fn append(self, reader: &mut Reader, mut found: Writer) -> Arc<Directory> {
        let octets = found.take();
        if !octets.is_empty() && self.is_good() {
            // It is found out again.
            let _ = append(reader, octets).await;
        }
        self.directory
    }
}

/// Appends blocks to the file, or begins one.
pub(super) async fn append(reader: &mut Reader, blocks: Vec<u8>) -> Result<(), Errno> {
    let Ok(mailbox) = reader.mailbox().await else { return Ok(()) };
    let disk = reader.scope.disk.clone();
    let (file, octets) = match disk.open_append(mailbox, CACHE_NAME).await {
        Ok((file, _)) => (file, blocks),
        Err(Errno::NotFound) => {
            let mut octets = file_header();
            octets.extend_from_slice(&blocks);
            (disk.create(mailbox, CACHE_NAME).await?, octets)
        }
        Err(errno) => return Err(errno),
    };
    let file = reader.scope.hold(file);
    let written = disk.write(file, octets).await;
    reader.scope.close(file).await;
    written
}

/// Writes the file anew with what is of use for these messages. The directory to go on with is [`Directory::default`]; the file
/// is as it was if that failed.
pub async fn compact(
    disk: Disk,
    root: Root,
    folder: FolderName,
    messages: Messages,
    directory: Arc<Directory>,
) {
    let mut reader = Reader::new(disk, root, folder);
    let _ = compact_with(&mut reader, &messages, directory).await;
    reader.finish().await;
}

async fn compact_with(
    reader: &mut Reader,
    messages: &Messages,
    directory: Arc<Directory>,
) -> Result<(), Errno> {
    let mut cache = Cache::open(reader, directory, Vec::new(), (1, u32::MAX)).await;
    let (Ok(mailbox), Some(_)) = (reader.mailbox().await, cache.file) else { return Ok(()) };
    let (disk, end) = (reader.scope.disk.clone(), cache.directory.end);
    let mut created = disk.create(mailbox, CACHE_TEMPORARY).await;
    if created == Err(Errno::Exists) {
        disk.unlink(mailbox, CACHE_TEMPORARY).await?;
        created = disk.create(mailbox, CACHE_TEMPORARY).await;
    }
    let file = reader.scope.hold(created?);
    let written = write_live(reader, &mut cache, messages, file).await;
    reader.scope.close(file).await;
    // What others have appended meanwhile would be lost.
    let grown = match disk.stat(mailbox, CACHE_NAME).await {
        Ok(stat) => !cache.directory.damaged && stat.size != end,
        Err(_) => true,
    };
    if written.is_ok() && !grown {
        disk.replace(mailbox, CACHE_TEMPORARY, CACHE_NAME).await
    } else {
        disk.unlink(mailbox, CACHE_TEMPORARY).await
    }
}

/// Writes what the cache says about these messages.
async fn write_live(
    reader: &mut Reader,
    cache: &mut Cache,
    messages: &Messages,
    file: Handle,
) -> Result<(), Errno> {
    let disk = reader.scope.disk.clone();
    disk.write(file, file_header()).await?;
    let mut writer = Writer::default();
    for message in messages.iter() {
        let hit = cache.look(reader, message).await;
        if hit.is_empty() {
            continue;
        }
        let fields = cache.place(&hit, Kind::Fields);
        let names = fields.and_then(|(block, text)| block.names(text)).unwrap_or_default();
        let texts = Kind::ALL.into_iter().filter_map(|kind| Some((kind, cache.text(&hit, kind)?)));
        writer.push(message.uid, message.base(), names, texts);
        if writer.len() >= WRITE_BYTES {
            let octets = writer.take();
            reader.spend(octets.len()).await;
            disk.write(file, octets).await?;
        }
    }
    disk.write(file, writer.take()).await
}
