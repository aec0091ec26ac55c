//! What a client sends to log in.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| midge_fuzz::token::check(input));
