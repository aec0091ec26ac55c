//! The fuzzer's corpora, replayed on every run: what was once found stays found.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::PathBuf;

use midge_transport::websocket::{End, WebSocket};

#[expect(
    unreachable_pub,
    reason = "the file is a public module of the fuzzer's crate"
)]
#[path = "../../../../fuzz/src/proxy.rs"]
mod proxy;
#[expect(
    unreachable_pub,
    reason = "the file is a public module of the fuzzer's crate"
)]
#[path = "../../../../fuzz/src/psk.rs"]
mod psk;
#[expect(
    unreachable_pub,
    reason = "the file is a public module of the fuzzer's crate"
)]
#[path = "../../../../fuzz/src/websocket.rs"]
mod websocket;

use websocket::Beginning;

/// Names and contents, in order of the names.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut files: Vec<_> = fs::read_dir(folder.join(target))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// Every input of the corpus, and every one with a byte replaced or left out.
#[expect(clippy::print_stdout, reason = "says which input it was")]
fn replay(target: &str, check: fn(&[u8])) {
    let files = corpus(target);
    for (name, input) in &files {
        println!("{name}");
        check(input);
        for at in 0..input.len().min(250) {
            let mut changed = input.clone();
            for byte in [
                0x00,
                0x7F,
                0x80,
                0xFF,
                b' ',
                b'\n',
                input[at] ^ 1,
                input[at] ^ 0x80,
            ] {
                changed[at] = byte;
                check(&changed);
            }
            changed.remove(at);
            check(&changed);
        }
    }
    let bytes: usize = files.iter().map(|(_, input)| input.len()).sum();
    assert!(
        files.len() <= 100 && bytes <= 50_000,
        "the corpus stays small"
    );
}

#[test]
fn the_websocket_corpus_and_its_neighbours_keep_what_is_promised() {
    replay("websocket", websocket::check);
}

#[test]
fn the_proxy_corpus_and_its_neighbours_keep_what_is_promised() {
    replay("proxy", proxy::check);
}

#[test]
fn the_corpus_of_pre_shared_keys_and_its_neighbours_keep_what_is_promised() {
    replay("psk", psk::check);
}

/// The name of a variant, with that of what is in it where it is one of ours.
fn kind(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    let end = text.find(|letter: char| !(letter.is_alphanumeric() || "_(".contains(letter)));
    let name = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    name.trim_end_matches('(').to_owned()
}

#[test]
fn the_websocket_corpus_has_every_end_of_every_beginning() {
    let mut seen = BTreeSet::new();
    for (_, input) in corpus("websocket") {
        let (beginning, _, bytes) = websocket::split(&input).unwrap();
        let outcome = match beginning {
            Beginning::Upgrade => match websocket::upgrade(bytes, bytes.len()) {
                Ok(None) => "unfinished".to_owned(),
                Ok(Some(accepted)) => kind(&accepted.request.subprotocol),
                Err(refused) => kind(&refused),
            },
            Beginning::Server | Beginning::Client => {
                let socket = match beginning {
                    Beginning::Server => WebSocket::server(),
                    _ => WebSocket::client([7; 16]),
                };
                match websocket::frames(socket, bytes, bytes.len()).end {
                    None => "open".to_owned(),
                    Some(End::Closed(close)) => format!("closed {}", close.code.is_some()),
                    Some(End::Violation(violation)) => kind(&violation),
                }
            }
            Beginning::Answer => match websocket::answer(bytes, bytes.len()) {
                Ok(None) => "unfinished".to_owned(),
                Ok(Some(_)) => "good".to_owned(),
                Err(error) => format!("{error:?}"),
            },
        };
        seen.insert((beginning, outcome));
    }
    let count = |wanted| {
        seen.iter()
            .filter(|(beginning, _)| *beginning == wanted)
            .count()
    };
    // Three that are not refused, and all refusals, that of other protocols for two of them.
    assert_eq!(count(Beginning::Upgrade), 15, "{seen:#?}");
    // Open, closed in two ways, and 13 violations: servers and clients have one each of their own.
    assert_eq!(count(Beginning::Server), 16, "{seen:#?}");
    assert_eq!(count(Beginning::Client), 16, "{seen:#?}");
    assert_eq!(count(Beginning::Answer), 9, "{seen:#?}");
}

#[test]
fn the_proxy_corpus_has_every_client_and_every_refusal() {
    let mut seen = BTreeSet::new();
    for (_, input) in corpus("proxy") {
        let (version, _, bytes) = proxy::split(&input).unwrap();
        seen.insert(match proxy::read(version, bytes, bytes.len()) {
            Ok(None) => "unfinished".to_owned(),
            Ok(Some((header, _))) => {
                let name = header.tls.as_ref().map(|tls| tls.common_name().is_some());
                format!("{} {name:?}", kind(&header.client))
            }
            Err(error) => format!("{error:?}"),
        });
    }
    assert_eq!(seen.len(), 18, "{seen:#?}");
}
