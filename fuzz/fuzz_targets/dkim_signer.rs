#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| postier_fuzz::dkim::dkim_signer(data));
