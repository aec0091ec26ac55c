//! The fuzzer's corpus, replayed on every run: what was once found stays found.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use midge_codec::{Header, Packet, Version};

#[expect(
    unreachable_pub,
    reason = "the file is a public module of the fuzzer's crate"
)]
#[path = "../../../fuzz/src/decode_packet.rs"]
mod decode_packet;

/// Names and contents, in order of the names.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/decode_packet");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_string_lossy().into_owned();
            Some((name, fs::read(&path).ok()?))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_input_of_the_corpus_keeps_the_codecs_promises() {
    for (name, input) in corpus() {
        println!("{name}");
        decode_packet::check(&input);
    }
}

#[test]
fn the_corpus_has_every_kind_of_packet_in_every_version_and_most_faults() {
    let mut kinds = BTreeSet::new();
    let mut faults = BTreeSet::new();
    for (_, input) in corpus() {
        let Some((version, bytes)) = decode_packet::split(&input) else {
            continue;
        };
        match Packet::read(bytes, version) {
            Ok(Some((packet, _))) => {
                kinds.insert((version, packet.packet_type().name()));
            }
            Ok(None) => {}
            Err(error) => {
                let fault = format!("{error:?}");
                faults.insert(fault.split('(').next().unwrap_or_default().to_owned());
            }
        }
    }
    // AUTH is of 5.0 alone.
    assert_eq!(kinds.len(), 15 * 3 - 2, "{kinds:?}");
    assert_eq!(faults.len(), 25, "{faults:?}");
}

/// What a fuzzer rarely finds by itself: every input with each byte replaced or left out.
#[test]
fn neighbours_of_the_corpus_keep_the_codecs_promises() {
    for (_, input) in corpus().iter().filter(|(_, input)| input.len() <= 64) {
        let mut changed = input.clone();
        for at in 0..input.len() {
            for byte in [
                0x00,
                0x01,
                0x7F,
                0x80,
                0xFF,
                input[at] ^ 1,
                input[at] ^ 0x80,
            ] {
                changed[at] = byte;
                decode_packet::check(&changed);
            }
            changed[at] = input[at];
            let mut shorter = input.clone();
            shorter.remove(at);
            decode_packet::check(&shorter);
        }
    }
}

#[test]
fn the_corpus_stays_small() {
    let files = corpus();
    let bytes: usize = files.iter().map(|(_, input)| input.len()).sum();
    assert!(files.len() <= 200, "{} files", files.len());
    assert!(bytes <= 200_000, "{bytes} bytes");
}

/// A longer input than any of the corpus, for the lengths in three bytes.
#[test]
fn a_long_packet_keeps_the_codecs_promises() {
    let mut input = vec![2, 0x30, 0x85, 0x80, 0x01, 0, 1, b'a', 0];
    input.resize(5 + 0x4005, b'x');
    let header = Header::peek(&input[1..]);
    let length = header.map(|header| header.map(|header| header.packet_length()));
    assert_eq!(length, Ok(Some(input.len() - 1)));
    let split = decode_packet::split(&input).map(|(version, _)| version);
    assert_eq!(split, Some(Version::V5));
    decode_packet::check(&input);
}
