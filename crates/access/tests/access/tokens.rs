//! The fuzzer's corpora of tokens and answers, replayed on every run: what was once found stays found.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

#[expect(
    unreachable_pub,
    reason = "the file is a public module of the fuzzer's crate"
)]
#[path = "../../../../fuzz/src/provider_answer.rs"]
mod provider_answer;

#[expect(
    unreachable_pub,
    reason = "the file is a public module of the fuzzer's crate"
)]
#[path = "../../../../fuzz/src/token.rs"]
mod token;

/// Names and contents, in order of the names.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = fs::read_dir(root.join("../../fuzz/corpus").join(target))
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

/// The names of the variants of all refusals, `Ok` among them.
fn outcomes<E: core::fmt::Debug>(found: impl Iterator<Item = Result<(), E>>) -> BTreeSet<String> {
    found
        .map(|found| match found {
            Ok(()) => "Ok".to_owned(),
            Err(refusal) => {
                let name = format!("{refusal:?}");
                let end = name.find([' ', '(', '{']).unwrap_or(name.len());
                name[..end].to_owned()
            }
        })
        .collect()
}

fn of_kind(files: &[(String, Vec<u8>)], kind: u8) -> impl Iterator<Item = &[u8]> {
    files.iter().filter_map(move |(_, input)| {
        let (first, rest) = input.split_first()?;
        (*first == kind).then_some(rest)
    })
}

#[test]
fn every_input_of_the_corpora_keeps_the_promises() {
    for (name, input) in corpus("token") {
        println!("{name}");
        token::check(&input);
    }
    for (name, input) in corpus("provider_answer") {
        println!("{name}");
        provider_answer::check(&input);
    }
}

#[test]
fn the_corpora_have_most_refusals_and_what_is_taken() {
    let files = corpus("token");
    let of_tokens = outcomes(of_kind(&files, 0).filter_map(token::verify));
    assert_eq!(of_tokens.len(), 17, "{of_tokens:?}");
    let of_claims = outcomes(of_kind(&files, 1).map(token::claims));
    assert_eq!(of_claims.len(), 8, "{of_claims:?}");
    let files = corpus("provider_answer");
    let of_logins = outcomes(of_kind(&files, 3).map(provider_answer::login));
    assert_eq!(of_logins.len(), 4, "{of_logins:?}");
}

/// What a fuzzer rarely finds by itself: every input with each byte replaced or left out.
fn check_neighbours(target: &str, check: fn(&[u8])) {
    for (_, input) in corpus(target)
        .iter()
        .filter(|(_, input)| input.len() <= 160)
    {
        let mut changed = input.clone();
        // The first byte chooses what the others are.
        for at in 1..input.len() {
            for byte in [0x00, b'"', b'{', 0xFF, input[at] ^ 1, input[at] ^ 0x20] {
                changed[at] = byte;
                check(&changed);
            }
            changed[at] = input[at];
            let mut shorter = input.clone();
            shorter.remove(at);
            check(&shorter);
        }
    }
}

#[test]
fn neighbours_of_tokens_keep_the_promises() {
    check_neighbours("token", token::check);
}

#[test]
fn neighbours_of_answers_keep_the_promises() {
    check_neighbours("provider_answer", provider_answer::check);
}

#[test]
fn the_corpora_stay_small() {
    for target in ["token", "provider_answer"] {
        let files = corpus(target);
        let bytes: usize = files.iter().map(|(_, input)| input.len()).sum();
        assert!(files.len() <= 200, "{} files", files.len());
        assert!(bytes <= 100_000, "{bytes} bytes");
    }
}
