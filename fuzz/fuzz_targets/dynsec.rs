//! A dynamic-security file, and requests that change it.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| midge_fuzz::dynsec::check(input));
