//! What fuzzers do with our own files: no fuzzer guesses a checksum, so here octets get the right ones.

use super::cache::{Block, Entry, Kind, Writer};
use super::index::{self, MAGIC};
use super::mailbox::MailboxState;
use super::octets::{Octets, SEED};
use alloc::string::String;
use alloc::vec::Vec;

/// Takes octets for the frames of an index file, each with its length before it in two octets. What is read from such
/// a file, written, is the same when it is read again; any octets may be an index file.
///
/// # Panics
/// If it is not.
pub fn check_index(octets: &[u8]) {
    let _ = index::decode(octets);
    let (mut file, mut checksum) = (MAGIC.to_vec(), SEED);
    let mut rest = Octets::new(octets);
    while let Some(body) = rest.bytes() {
        checksum = index::push_frame(&mut file, checksum, |out| out.extend_from_slice(body));
    }
    let Some(decoded) = index::decode(&file) else { return };
    let state = decoded.state;
    let mut written = MAGIC.to_vec();
    index::encode(&state, None, SEED, &mut written);
    let again = index::decode(&written).map(|decoded| decoded.state);
    let facts = |state: &MailboxState| {
        let (keywords, others) = (state.keywords.clone(), state.uidlist_others.clone());
        (state.uid_validity, state.uid_next, state.highest_modseq, state.modseq_limit, keywords, others)
    };
    let is_same = again.is_some_and(|again| {
        again.messages.iter().eq(state.messages.iter()) && facts(&again) == facts(&state)
    });
    assert!(is_same, "what was written is what is read");
}

/// Takes octets for the body of a block of the cache, after the lowest and the highest UID and the number of rows in it, of four
/// octets each. What is found in it, written, is found again; any octets may be a block's header.
///
/// # Panics
/// If it is not.
pub fn check_cache(octets: &[u8]) {
    let _ = Entry::decode(octets.get(..32).unwrap_or(octets), 0);
    let mut rest = Octets::new(octets);
    let (Some(first), Some(last), Some(rows)) = (rest.u32(), rest.u32(), rest.u32()) else { return };
    let body: Vec<u8> = rest.take(rest.left()).unwrap_or_default().to_vec();
    let entry = Entry::of(&body, rows, first, last);
    let wanted = [String::from("date"), String::from("from")];
    let Some(block) = Block::decode(&entry, body, &wanted) else { return };
    for (uid, identity) in block.rows() {
        assert!((first..=last).contains(&uid), "a row is where its header says");
        for kind in Kind::ALL {
            let Some(text) = block.find(uid, identity, kind) else { continue };
            let names = block.names(text).unwrap_or_default();
            let octets = block.text(text);
            let mut writer = Writer::default();
            writer.push(uid, b"base", names, [(kind, octets)].into_iter());
            let written = writer.take();
            let again = Entry::decode(written.get(..32).unwrap_or_default(), 32).and_then(|entry| {
                let block = Block::decode(&entry, written.get(32..)?.to_vec(), &wanted)?;
                let text = block.find(uid, super::cache::identity(b"base"), kind)?;
                let named = kind != Kind::Fields || block.names(text) == Some(names);
                Some(block.text(text) == octets && named)
            });
            let fits = octets.len() <= super::cache::CACHE_ITEM_BYTES_MAX;
            assert_eq!(again, fits.then_some(true), "what was written is what is read");
        }
    }
}
