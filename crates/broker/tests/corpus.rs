//! The fuzzer's corpus, replayed on every run: what was once found stays found.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use midge_codec::Version;

#[cfg(test)]
#[expect(
    unreachable_pub,
    reason = "the file is a public module of the fuzzer's crate"
)]
#[path = "../../../fuzz/src/connection.rs"]
mod connection;

/// Names and contents, in order of the names.
#[expect(
    clippy::disallowed_methods,
    reason = "the broker itself reads no files, but its corpus is in some"
)]
fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/connection");
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
fn every_script_of_the_corpus_leaves_the_broker_as_it_was() {
    for (name, input) in corpus() {
        println!("{name}");
        connection::check(&input);
    }
}

#[test]
fn the_corpus_makes_the_broker_send_every_packet_in_every_version() {
    let mut packets = BTreeSet::new();
    let mut reasons = BTreeSet::new();
    let mut publishes = BTreeSet::new();
    for (_, input) in corpus() {
        let seen = connection::play(&input);
        packets.extend(seen.packets);
        reasons.extend(seen.reasons);
        publishes.extend(seen.publishes);
    }
    for version in Version::ALL {
        // A server sends neither of the client's requests; DISCONNECT is of 5.0 alone.
        let count = packets.iter().filter(|(of, _)| *of == version).count();
        let all = 9 + usize::from(version.has_properties());
        assert_eq!(count, all, "{version:?}: {packets:?}");
    }
    assert!(reasons.len() >= 12, "{reasons:02x?}");
    assert_eq!(publishes.len(), 4, "{publishes:?}");
}

/// What a fuzzer rarely finds by itself: every script without one of its bytes, or with another one.
#[test]
fn neighbours_of_the_corpus_leave_the_broker_as_it_was() {
    for (_, input) in corpus().iter().filter(|(_, input)| input.len() <= 120) {
        let mut changed = input.clone();
        for at in 0..input.len() {
            for byte in [0xFF, input[at] ^ 1] {
                changed[at] = byte;
                connection::check(&changed);
            }
            changed[at] = input[at];
            let mut shorter = input.clone();
            shorter.remove(at);
            connection::check(&shorter);
        }
    }
}

#[test]
fn the_corpus_stays_small() {
    let files = corpus();
    let bytes: usize = files.iter().map(|(_, input)| input.len()).sum();
    assert!(files.len() <= 200, "{} files", files.len());
    assert!(bytes <= 100_000, "{bytes} bytes");
}
