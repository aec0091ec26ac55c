//! What providers and back ends answer.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| midge_fuzz::provider_answer::check(input));
