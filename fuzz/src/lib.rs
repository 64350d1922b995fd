//! What the fuzz targets do, as plain functions.
//!
//! Each target is a function that takes arbitrary octets and panics if the module breaks a promise: a
//! round trip that does not come back, a result that depends on how the input was segmented, a limit
//! exceeded. The files in `fuzz_targets/` only hand libFuzzer's input over. So the same functions run
//! without libFuzzer over the seeds:
//!
//! ```text
//! cargo test --manifest-path fuzz/Cargo.toml --no-default-features
//! ```
//!
//! To fuzz (`cargo install cargo-fuzz`, a nightly toolchain, a C++ compiler):
//!
//! ```text
//! cargo +nightly fuzz run wire_dot fuzz/corpus/wire_dot fuzz/seeds/wire_dot -- \
//!     -dict=fuzz/dictionaries/wire.dict -max_total_time=60
//! ```
//!
//! libFuzzer writes what it finds into the first directory, so the seeds stay as they are. `-s none` instead
//! of a nightly toolchain works too, without the address sanitizer (core has no unsafe code).
//!
//! | directory | what |
//! |---|---|
//! | `src/` | the targets' bodies, one file for each part of core |
//! | `src/drive.rs` | what a whole session is driven by |
//! | `fuzz_targets/` | one line for each target |
//! | `seeds/TARGET/` | inputs to start from, and every input that once failed; plain protocol text |
//! | `dictionaries/` | the words of each protocol |
//!
//! An input is the octets of the protocol and nothing else: no header says where to cut it. A target cuts
//! it itself, see [`assert_split_invariant`]. So a seed can be read, a finding can be sent to a server as it
//! is, and the corpus of one target can start another.
//!
//! A new target is a function, its line in [`TARGETS`], its one line in `fuzz_targets/`, its `[[bin]]` in
//! `Cargo.toml` and at least one seed; `tests/seeds.rs` sees to it that none of them is forgotten.

pub mod dkim;
pub mod dns;
mod drive;
pub mod imap;
pub mod imap_session;
pub mod maildir;
pub mod mime;
pub mod pickup;
pub mod smtp;
pub mod smtp_session;
pub mod wire;

use std::fmt::Debug;

/// The body of a target: takes any octets, and panics when a promise is broken.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("dkim_signer", dkim::dkim_signer),
    ("dns_mta_sts", dns::dns_mta_sts),
    ("imap_command", imap::imap_command),
    ("imap_list", imap::imap_list),
    ("imap_scanner", imap::imap_scanner),
    ("imap_sequence", imap::imap_sequence),
    ("imap_session", imap_session::imap_session),
    ("imap_url", imap::imap_url),
    ("maildir_cache", maildir::maildir_cache),
    ("maildir_index", maildir::maildir_index),
    ("maildir_name", maildir::maildir_name),
    ("maildir_uidlist", maildir::maildir_uidlist),
    ("mime_address", mime::mime_address),
    ("mime_date", mime::mime_date),
    ("mime_encoded", mime::mime_encoded),
    ("mime_preview", mime::mime_preview),
    ("mime_unbinary", mime::mime_unbinary),
    ("mime_header", mime::mime_header),
    ("mime_structure", mime::mime_structure),
    ("pickup_drop", pickup::pickup_drop),
    ("smtp_address", smtp::smtp_address),
    ("smtp_command", smtp::smtp_command),
    ("smtp_session", smtp_session::smtp_session),
    ("wire_base64", wire::wire_base64),
    ("wire_dot", wire::wire_dot),
    ("wire_eol", wire::wire_eol),
    ("wire_lines", wire::wire_lines),
    ("wire_mutf7", wire::wire_mutf7),
    ("wire_quoted_printable", wire::wire_quoted_printable),
    ("wire_xtext", wire::wire_xtext),
];

/// Runs `run` over `data` in one piece, octet by octet, and in pieces of pseudo-random lengths, empty ones
/// among them; panics unless all give the same. Returns what they gave.
pub fn assert_split_invariant<T: PartialEq + Debug>(data: &[u8], mut run: impl FnMut(&[&[u8]]) -> T) -> T {
    let whole = run(&[data]);
    assert_eq!(run(&data.chunks(1).collect::<Vec<_>>()), whole, "octet by octet");
    let mut seed = data.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, &octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    for longest in [3, 7, 100] {
        let (mut pieces, mut rest) = (Vec::new(), data);
        while !rest.is_empty() {
            // xorshift64.
            seed |= u64::from(seed == 0);
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let (piece, tail) = rest.split_at((seed % longest) as usize % (rest.len() + 1));
            pieces.push(piece);
            rest = tail;
        }
        assert_eq!(
            run(&pieces),
            whole,
            "in pieces of {:?}",
            pieces.iter().map(|p| p.len()).collect::<Vec<_>>()
        );
    }
    whole
}
