//! What a SCRAM peer says.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| midge_fuzz::scram::check(input));
