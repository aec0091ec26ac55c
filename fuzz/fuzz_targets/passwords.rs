//! A password file.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| midge_fuzz::passwords::check(input));
