//! An access file and what is asked about it.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| midge_fuzz::acl::check(input));
