//! One test per transcript, each in several segmentations.

use super::script::play;

/// Cuts that differ and are the same every time.
fn cuts(seed: u64) -> impl FnMut() -> usize {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % 17 + 1
    }
}

fn play_in_pieces(name: &str, script: &str) {
    play(name, script, || usize::MAX);
    play(name, script, || 1);
    play(name, script, || 2);
    for seed in 0..8 {
        play(name, script, cuts(seed));
    }
}

/// A transcript that nobody plays proves nothing.
#[test]
fn every_transcript_is_played() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/imap/server/transcripts");
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        assert!(NAMES.contains(&path.file_stem().unwrap().to_str().unwrap()), "{}", path.display());
    }
}

macro_rules! transcripts {
    ($($name:ident)*) => {
        pub(in super::super) const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(
        #[test]
        fn $name() {
            let script = include_str!(concat!("../transcripts/", stringify!($name), ".txt"));
            play_in_pieces(stringify!($name), script);
        }
        )*
    };
}

transcripts! {
    account_gone
    append
    append_eof
    append_kinds
    append_to_selected
    authenticate
    multiappend
    multiappend_ends
    catenate
    replace
    replace_read_only
    in_progress
    objectid
    binary
    fetch_more
    authenticate_login
    authenticate_scram
    authenticate_scram_plus
    unauthenticate
    compress
    compress_broken
    condstore
    condstore_search
    before_login
    changes
    client_ios_changedsince
    client_ios_compress
    client_ios_idle
    client_ios_hidden
    client_ios_list
    client_k9
    client_macos
    client_mutt
    client_outlook
    client_thunderbird
    copy_move
    errors
    expunge
    failed_logins
    fetch
    first_session
    folders
    half_close
    http
    huge_literal_before_login
    huge_literals
    idle
    idle_times_out
    list
    login_times_out
    long_lines
    metadata
    multisearch
    notify
    notify_others
    loopback
    lost_answers
    qresync
    quota
    rev2
    rev2_names
    search
    search_context
    search_context_fetch
    search_context_limits
    search_partial
    search_save
    select
    shutdown
    shutdown_idle
    sort
    starttls_injection
    store
    thread
    tls_on_the_plain_port
    too_many_errors
    uid_batches
    uidonly
    utf8_accept
}
