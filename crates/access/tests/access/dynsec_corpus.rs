//! The fuzzer's corpus for dynamic security, replayed on every run: what was once found stays found.

use std::fs;
use std::path::PathBuf;

#[expect(
    unreachable_pub,
    reason = "the file is a public module of the fuzzer's crate"
)]
#[path = "../../../../fuzz/src/dynsec.rs"]
mod dynsec;

/// Names and contents, in order of the names.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/dynsec");
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
fn every_input_of_the_corpus_keeps_the_promises_of_dynamic_security() {
    let files = corpus();
    assert!(files.len() >= 10, "{}", files.len());
    for (name, input) in files {
        println!("{name}");
        dynsec::check(&input);
    }
}

/// What a fuzzer rarely finds by itself: bytes replaced or left out, one in each input.
#[test]
fn neighbours_of_the_corpus_keep_them_too() {
    for (_, input) in corpus().iter().filter(|(_, input)| input.len() <= 300) {
        let mut changed = input.clone();
        for at in (0..input.len()).step_by(3) {
            for byte in [0, b'"', input[at] ^ 1] {
                changed[at] = byte;
                dynsec::check(&changed);
            }
            changed[at] = input[at];
            let mut shorter = input.clone();
            shorter.remove(at);
            dynsec::check(&shorter);
        }
    }
}

#[test]
fn the_corpus_stays_small() {
    let bytes: usize = corpus().iter().map(|(_, input)| input.len()).sum();
    assert!(bytes <= 100_000, "{bytes} bytes");
}
