//! What providers and back ends answer: keys, discovery documents, and decisions about logins.
//!
//! The first byte of an input chooses what the others are.

use std::time::Duration;

use midge_access::Action;
use midge_access::tokens::UnixSecs;
use midge_access::tokens::discovery::{DOCUMENT_BYTES_MAX, Document};
use midge_access::tokens::http_login::{HttpLogin, HttpLoginSettings, Login, LookUp};
use midge_access::tokens::keys::{
    Algorithm, FetchPurpose, KEYS_MAX, KeyPolicy, KeyStore, ParsedKeys, Symmetric, max_age,
    parse_jwks, parse_pem,
};
use midge_access::tokens::{HashKey, Refusal};

const ISSUER: &str = "https://id.example.com";
const TIME: UnixSecs = UnixSecs(1_800_000_000);

/// Reads `input` as what its first byte says.
///
/// # Panics
/// When a promise is broken.
pub fn check(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else {
        return;
    };
    match kind % 5 {
        0 => {
            for symmetric in [Symmetric::Refused, Symmetric::Allowed] {
                if let Ok(parsed) = parse_jwks(bytes, symmetric) {
                    keys(&parsed, symmetric);
                }
            }
            store(bytes);
        }
        1 => {
            if let Ok(parsed) = parse_pem(bytes) {
                keys(&parsed, Symmetric::Refused);
            }
        }
        2 => document(bytes),
        3 => {
            let _ = login(bytes);
        }
        _ => {
            let _ = core::str::from_utf8(bytes).map(max_age);
        }
    }
}

fn keys(parsed: &ParsedKeys, symmetric: Symmetric) {
    assert!(!parsed.keys.is_empty() && parsed.keys.len() + parsed.skipped.len() <= KEYS_MAX);
    let all = Algorithm::ASYMMETRIC
        .into_iter()
        .chain(Algorithm::SYMMETRIC);
    for key in parsed.keys.iter() {
        let mut suited = 0;
        for algorithm in all.clone().filter(|algorithm| key.suits(*algorithm)) {
            assert!(!algorithm.is_symmetric() || symmetric == Symmetric::Allowed);
            assert!(!key.verifies(algorithm, b"message", b"no signature"));
            suited += 1;
        }
        assert!(suited > 0, "a key that is good for nothing");
    }
}

/// Whatever comes, a store with keys keeps serving some, and has something to do next.
fn store(bytes: &[u8]) {
    let mut store = KeyStore::from_keys_uri(ISSUER, KeyPolicy::default(), Duration::ZERO);
    let fetch = store.next_fetch(Duration::ZERO);
    assert_eq!(fetch.map(|fetch| fetch.purpose), Some(FetchPurpose::Keys));
    let taken = store.fetched(bytes, None, Duration::ZERO);
    assert_eq!(taken.is_ok(), store.last_failure().is_none());
    assert!(store.next_due().is_some_and(|due| due > Duration::ZERO));
}

fn document(bytes: &[u8]) {
    if let Ok(document) = Document::parse(bytes, ISSUER) {
        assert!(bytes.len() <= DOCUMENT_BYTES_MAX);
        assert_eq!(document.issuer, ISSUER);
        assert!(document.jwks_uri.starts_with("https://"));
    }
}

/// Takes the answer of an HTTP back end.
///
/// # Panics
/// When a promise is broken.
pub fn login(bytes: &[u8]) -> Result<(), Refusal> {
    let settings = HttpLoginSettings::new("https://back.end/");
    let mut back_end = HttpLogin::new(settings, HashKey::new(&[1; 32]));
    let login = Login {
        client_id: "sensor-7",
        user_name: Some("device"),
        ..Login::default()
    };
    let LookUp::Ask(question) = back_end.look_up(&login, Duration::ZERO, TIME) else {
        unreachable!("nothing is known yet");
    };
    // Without the word that lets in, nobody comes in.
    let says_so = bytes.windows(4).any(|word| word == b"true");
    let found = back_end.answered(&question, 200, bytes, Duration::ZERO, TIME);
    assert!(found.is_err() || says_so);
    let identity = found?;
    if let Some(rules) = identity.rules {
        let _ = rules.decide(Action::Publish, "garden/sensor-7");
    }
    // Another status makes the best answer worthless.
    let other = back_end.answered(&question, 500, bytes, Duration::ZERO, TIME);
    assert!(other.is_err());
    Ok(())
}
