#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| postier_fuzz::imap_session::imap_session(data));
