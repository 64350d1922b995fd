#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| postier_fuzz::imap::imap_url(data));
