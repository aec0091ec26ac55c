//! Files of pre-shared keys.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| midge_fuzz::psk::check(input));
