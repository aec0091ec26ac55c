//! What a proxy says about the connections that it passes on.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| midge_fuzz::proxy::check(input));
