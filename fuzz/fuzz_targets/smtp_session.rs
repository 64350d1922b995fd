#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| postier_fuzz::smtp_session::smtp_session(data));
