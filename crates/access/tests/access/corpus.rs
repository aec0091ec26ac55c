//! The fuzzers' corpora, replayed on every run: what was once found stays found.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use midge_access::acl::Rules;
use midge_access::passwords::{DecoyKey, PasswordFile};
use midge_access::scram::{Mechanism, Server};

#[expect(
    unreachable_pub,
    clippy::panic,
    reason = "the file is a public module of the fuzzer's crate, which has other lints"
)]
#[path = "../../../../fuzz/src/acl.rs"]
mod acl;
#[expect(
    unreachable_pub,
    clippy::panic,
    reason = "the file is a public module of the fuzzer's crate, which has other lints"
)]
#[path = "../../../../fuzz/src/passwords.rs"]
mod passwords;
#[expect(
    unreachable_pub,
    reason = "the file is a public module of the fuzzer's crate"
)]
#[path = "../../../../fuzz/src/scram.rs"]
mod scram;

/// Names and contents, in order of the names.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
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

/// Says which input it was when a check panics.
struct Shown<'a>(&'a str);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "the input is {}", self.0);
        }
    }
}

fn replay(target: &str, check: fn(&[u8])) {
    for (name, input) in corpus(target) {
        // Shown when a check fails, so that the input is known.
        let _shown = Shown(&name);
        check(&input);
    }
}

#[test]
fn every_access_file_of_the_corpus_keeps_its_promises() {
    replay("acl", acl::check);
}

#[test]
fn every_password_file_of_the_corpus_keeps_its_promises() {
    replay("passwords", passwords::check);
}

#[test]
fn every_scram_exchange_of_the_corpus_keeps_its_promises() {
    replay("scram", scram::check);
}

/// What a fuzzer rarely finds by itself: every input with each byte replaced or left out.
#[test]
fn neighbours_of_the_corpora_keep_their_promises() {
    for (target, check) in [
        ("acl", acl::check as fn(&[u8])),
        ("passwords", passwords::check),
    ] {
        for (_, input) in corpus(target).iter().filter(|(_, input)| input.len() <= 40) {
            for at in 0..input.len() {
                for byte in [b'\0', b'\n', b' ', b'#', b'%', b'/', b'$', b':', b'\xFF'] {
                    let mut changed = input.clone();
                    changed[at] = byte;
                    check(&changed);
                }
                let mut shorter = input.clone();
                shorter.remove(at);
                check(&shorter);
            }
        }
    }
}

#[test]
fn the_corpora_reach_most_faults_and_forms() {
    let mut faults = BTreeSet::new();
    let mut sound = 0;
    for (_, input) in corpus("acl") {
        let file = input.split(|byte| *byte == 0).next().unwrap_or_default();
        match Rules::parse("acl", file) {
            Ok((rules, _)) => sound += usize::from(rules.len() > 2),
            Err(error) => faults.extend(error.lines.list.iter().map(|fault| {
                let text: String = fault.text.chars().take(14).collect();
                text.split('\'').next().unwrap_or_default().to_owned()
            })),
        }
    }
    assert!(sound >= 10, "{sound} files with rules");
    assert!(faults.len() >= 8, "{faults:?}");
    let mut forms = BTreeSet::new();
    for (_, input) in corpus("passwords") {
        let (file, _) = PasswordFile::parse(&input, DecoyKey::new([0; 32])).unwrap();
        let verifiers = file.user_names().filter_map(|name| file.verifier(name));
        forms.extend(verifiers.map(|verifier| verifier.hashing().name()));
    }
    assert!(forms.len() >= 4, "{forms:?}");
    let (empty, _) = PasswordFile::parse(b"", DecoyKey::new([0; 32])).unwrap();
    let mechanism = Mechanism::from_name("SCRAM-SHA-256").unwrap();
    let answered = corpus("scram").iter().any(|(_, input)| {
        let first = input[1..]
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default();
        Server::answer(mechanism, &empty, first, None, [0; 18]).is_ok()
    });
    assert!(answered);
}

#[test]
fn the_corpora_stay_small() {
    for target in ["acl", "passwords", "scram"] {
        let files = corpus(target);
        let bytes: usize = files.iter().map(|(_, input)| input.len()).sum();
        assert!(files.len() <= 150, "{target}: {} files", files.len());
        assert!(bytes <= 50_000, "{target}: {bytes} bytes");
    }
}
