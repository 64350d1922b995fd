#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| postier_fuzz::wire::wire_eol(data));
