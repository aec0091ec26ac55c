//! What a broker says to the client for microcontrollers, and where its session comes from.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| midge_fuzz::embedded::check(input));
