#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| postier_fuzz::dns::dns_mta_sts(data));
