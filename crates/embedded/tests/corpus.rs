//! The fuzzer's corpus, replayed on every run: what was once found stays found.

#![expect(clippy::expect_used, reason = "these are tests")]

use std::fs;
use std::path::PathBuf;

#[expect(
    unreachable_pub,
    reason = "the file is a public module of the fuzzer's crate"
)]
#[path = "../../../fuzz/src/embedded.rs"]
mod embedded;

/// Every input of the corpus, and every one with a byte replaced or left out.
#[test]
fn the_corpus_of_brokers_and_sessions_and_its_neighbours_keep_what_is_promised() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/embedded");
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        let input = fs::read(path).unwrap();
        files += 1;
        bytes += input.len();
        embedded::check(&input);
        for at in 0..input.len() {
            let mut changed = input.clone();
            for byte in [0, 1, 2, 0x7F, 0x80, 0xFF, input[at] ^ 1, input[at] ^ 0x80] {
                changed[at] = byte;
                embedded::check(&changed);
            }
            changed.remove(at);
            embedded::check(&changed);
        }
    }
    assert!(
        (10..=100).contains(&files) && bytes <= 50_000,
        "the corpus is there, and stays small"
    );
}
