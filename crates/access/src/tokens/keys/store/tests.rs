use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::tokens::keys::Algorithm;
use crate::tokens::testing::{Signer, jwks};

const ISSUER: &str = "https://id.example.com";

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn keys_named(ids: &[&str]) -> Vec<u8> {
    let signer = Signer::new(Algorithm::EdDsa);
    jwks(
        &ids.iter()
            .map(|id| signer.jwk(Some(id)))
            .collect::<Vec<_>>(),
    )
}

fn document() -> Vec<u8> {
    let keys = format!("{ISSUER}/keys");
    json!({"issuer": ISSUER, "jwks_uri": keys})
        .to_string()
        .into_bytes()
}

/// A store that fetched one key named `a` at 0, fresh for an hour.
fn filled() -> KeyStore {
    let mut store = KeyStore::from_keys_uri("https://k", KeyPolicy::default(), secs(0));
    assert!(store.next_fetch(secs(0)).is_some());
    store.fetched(&keys_named(&["a"]), None, secs(0)).unwrap();
    store
}

fn has_key(store: &KeyStore, id: &str, now: u64) -> bool {
    matches!(store.availability(secs(now)), Availability::Ready(keys) if keys.has_id(id))
}

#[test]
fn an_issuer_is_asked_for_its_document_and_then_for_its_keys() {
    let mut store = KeyStore::from_issuer(ISSUER, KeyPolicy::default(), secs(5));
    assert_eq!(store.next_due(), Some(secs(5)));
    assert_eq!(store.next_fetch(secs(4)), None);
    let first = store.next_fetch(secs(5)).unwrap();
    assert_eq!(
        first.url,
        "https://id.example.com/.well-known/openid-configuration"
    );
    assert_eq!(first.purpose, FetchPurpose::Discovery);
    assert_eq!(store.next_fetch(secs(5)), None, "one at a time");
    assert!(matches!(store.availability(secs(5)), Availability::Waiting));
    assert_eq!(
        store.fetched(&document(), None, secs(6)),
        Ok(Update::Discovered)
    );
    let second = store.next_fetch(secs(6)).unwrap();
    assert_eq!(second.url, "https://id.example.com/keys");
    let update = store
        .fetched(&keys_named(&["a", "b"]), None, secs(7))
        .unwrap();
    let expected = Update::Keys {
        added: vec!["a".into(), "b".into()],
        removed: Vec::new(),
        skipped: Vec::new(),
    };
    assert_eq!(update, expected);
    assert!(has_key(&store, "b", 7));
    assert_eq!(store.document().unwrap().issuer, ISSUER);
}

#[test]
fn keys_are_renewed_ahead_of_their_end_and_serve_meanwhile() {
    let mut store = filled();
    assert_eq!(store.next_due(), Some(secs(2700)));
    assert_eq!(store.next_fetch(secs(2699)), None);
    assert!(store.next_fetch(secs(2700)).is_some());
    assert!(has_key(&store, "a", 2700));
}

#[test]
fn a_rotation_brings_keys_and_takes_withdrawn_ones_away() {
    let mut store = filled();
    let _ = store.next_fetch(secs(2700)).unwrap();
    let update = store
        .fetched(&keys_named(&["b"]), None, secs(2700))
        .unwrap();
    let Update::Keys { added, removed, .. } = update else {
        panic!("{update:?}");
    };
    assert_eq!(
        (added, removed),
        (vec!["b".to_owned()], vec!["a".to_owned()])
    );
    assert!(has_key(&store, "b", 2700) && !has_key(&store, "a", 2700));
}

#[test]
fn the_providers_max_age_counts_within_bounds() {
    for (max_age, due) in [(0, 45), (10, 45), (400, 300), (1_000_000, 64_800)] {
        let mut store = KeyStore::from_keys_uri("https://k", KeyPolicy::default(), secs(0));
        let _ = store.next_fetch(secs(0)).unwrap();
        store
            .fetched(&keys_named(&["a"]), Some(secs(max_age)), secs(0))
            .unwrap();
        assert_eq!(store.next_due(), Some(secs(due)), "max-age={max_age}");
    }
}

#[test]
fn cached_keys_serve_while_the_provider_is_down_but_not_for_ever() {
    let mut store = filled();
    let mut now = secs(0);
    while let Some(due) = store.next_due().filter(|due| *due < secs(200_000)) {
        now = due;
        let _ = store.next_fetch(now).unwrap();
        store.failed("connection refused", now);
    }
    assert!(now > secs(199_000));
    assert!(has_key(&store, "a", 3600 + 86_399));
    let Availability::Unavailable(why) = store.availability(secs(3600 + 86_400)) else {
        panic!("keys of two days ago are in use");
    };
    assert_eq!(why, NoKeys::TooOld("connection refused".into()));
    // The provider is back.
    let due = store.next_due().unwrap();
    let _ = store.next_fetch(due).unwrap();
    store.fetched(&keys_named(&["a"]), None, due).unwrap();
    assert!(has_key(&store, "a", due.as_secs()));
    assert_eq!(store.last_failure(), None);
}

#[test]
fn retries_wait_longer_and_longer_up_to_a_limit() {
    let mut store = KeyStore::from_keys_uri("https://k", KeyPolicy::default(), secs(0));
    let mut waits = Vec::new();
    let mut now = secs(0);
    for _ in 0..12 {
        let _ = store.next_fetch(now).unwrap();
        store.failed("down", now);
        let due = store.next_due().unwrap();
        waits.push((due - now).as_secs());
        now = due;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    let why = NoKeys::NeverFetched("down".into());
    assert!(matches!(store.availability(now), Availability::Unavailable(found) if found == why));
}

#[test]
fn an_answer_that_cannot_be_used_is_a_failure_and_the_old_keys_stay() {
    for answer in [
        &b"<html>"[..],
        b"{\"keys\":[]}",
        &jwks(&[json!({"kty": "oct", "k": "AA"})]),
    ] {
        let mut store = filled();
        let _ = store.next_fetch(secs(2700)).unwrap();
        let fault = store.fetched(answer, None, secs(2700)).unwrap_err();
        assert!(fault.to_string().starts_with("keys: "), "{fault}");
        assert!(has_key(&store, "a", 2700));
        assert_eq!(store.next_due(), Some(secs(2701)));
        assert_eq!(store.last_failure(), Some(&*fault.to_string()));
    }
}

#[test]
fn an_unknown_key_is_fetched_at_once_when_the_last_fetch_is_long_ago() {
    let mut store = filled();
    assert_eq!(store.unknown_key(secs(100)), UnknownKey::Wait);
    assert_eq!(store.next_due(), Some(secs(100)));
    let _ = store.next_fetch(secs(100)).unwrap();
    assert_eq!(
        store.unknown_key(secs(101)),
        UnknownKey::Wait,
        "the fetch is under way"
    );
    store
        .fetched(&keys_named(&["a", "b"]), None, secs(102))
        .unwrap();
    assert!(has_key(&store, "b", 102));
}

#[test]
fn a_flood_of_unknown_keys_costs_the_provider_two_requests_a_minute() {
    for provider_is_up in [true, false] {
        let mut store = filled();
        let mut fetches = 0;
        for millis in (0..600_000).step_by(10) {
            let now = Duration::from_millis(millis);
            store.unknown_key(now);
            if store.next_fetch(now).is_some() {
                fetches += 1;
                if provider_is_up {
                    store.fetched(&keys_named(&["a"]), None, now).unwrap();
                } else {
                    store.failed("down", now);
                }
            }
        }
        // The retries of a provider that is down come on top: 1 + 2 + 4 + … seconds.
        assert!(fetches <= if provider_is_up { 20 } else { 30 }, "{fetches}");
        assert!(has_key(&store, "a", 600));
    }
}

#[test]
fn key_files_are_never_fetched() {
    let keys = parse_jwks(&keys_named(&["a"]), Symmetric::Refused)
        .unwrap()
        .keys;
    let mut store = KeyStore::fixed(keys);
    assert_eq!(store.next_due(), None);
    assert_eq!(store.unknown_key(secs(9)), UnknownKey::Refuse);
    assert_eq!(store.next_fetch(Duration::MAX), None);
    assert!(has_key(&store, "a", 1 << 60));
}

#[test]
fn a_failure_asks_the_issuer_again_where_its_keys_are() {
    let mut store = KeyStore::from_issuer(ISSUER, KeyPolicy::default(), secs(0));
    let _ = store.next_fetch(secs(0)).unwrap();
    store.fetched(&document(), None, secs(0)).unwrap();
    let _ = store.next_fetch(secs(0)).unwrap();
    store.failed("404", secs(0));
    let fetch = store.next_fetch(secs(1)).unwrap();
    assert_eq!(fetch.purpose, FetchPurpose::Discovery);
    assert!(store.document().is_some());
}

#[test]
fn an_answer_that_nobody_asked_for_changes_nothing() {
    let mut store = filled();
    let answer = store.fetched(&keys_named(&["b"]), None, secs(1));
    assert_eq!(answer, Ok(Update::Unasked));
    store.failed("what?", secs(1));
    assert!(has_key(&store, "a", 1) && store.last_failure().is_none());
}

#[test]
fn max_age_is_found_in_cache_control() {
    for (header, expected) in [
        ("public, max-age=300", Some(300)),
        ("Max-Age=\"60\" , public", Some(60)),
        ("max-age=99999999999999999999", Some(u64::MAX)),
        ("max-age=60, no-store", Some(0)),
        ("no-cache", Some(0)),
        ("max-age=-1", None),
        ("s-maxage=5", None),
        ("", None),
    ] {
        assert_eq!(max_age(header), expected.map(secs), "{header}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Wait(u64),
    UnknownKey,
    Answer,
    NoAnswer,
    WrongAnswer,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (1..2000_u64).prop_map(Event::Wait),
        1 => (1..200_000_u64).prop_map(Event::Wait),
        4 => Just(Event::UnknownKey),
        4 => Just(Event::Answer),
        2 => Just(Event::NoAnswer),
        1 => Just(Event::WrongAnswer),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes in whatever order: the provider is asked with restraint, nothing is ever left undone,
    /// and keys serve exactly as long as they may.
    #[test]
    fn a_store_keeps_its_promises_through_any_sequence(
        events in prop::collection::vec(event(), 1..80),
        by_issuer in any::<bool>(),
    ) {
        let policy = KeyPolicy::default();
        let mut store = if by_issuer {
            KeyStore::from_issuer(ISSUER, policy, secs(0))
        } else {
            KeyStore::from_keys_uri("https://k", policy, secs(0))
        };
        let keys = keys_named(&["a"]);
        let mut now = secs(0);
        let mut under_way = None;
        let mut keys_at = None;
        let mut asked_for_keys_at: Option<Duration> = None;
        for event in events {
            match event {
                Event::Wait(wait) => now += secs(wait),
                Event::UnknownKey => {
                    let answer = store.unknown_key(now);
                    let will_know = under_way.is_some() || store.next_due().is_some_and(|due| due <= now);
                    prop_assert_eq!(answer == UnknownKey::Wait, will_know);
                }
                Event::Answer => match under_way.take() {
                    Some(FetchPurpose::Discovery) => {
                        prop_assert_eq!(store.fetched(&document(), None, now), Ok(Update::Discovered));
                    }
                    Some(FetchPurpose::Keys) => {
                        prop_assert!(store.fetched(&keys, None, now).is_ok());
                        keys_at = Some(now);
                    }
                    None => prop_assert_eq!(store.fetched(&keys, None, now), Ok(Update::Unasked)),
                },
                Event::NoAnswer => {
                    store.failed("down", now);
                    under_way = None;
                }
                Event::WrongAnswer => {
                    prop_assert_eq!(store.fetched(b"", None, now).is_err(), under_way.is_some());
                    under_way = None;
                }
            }
            if let Some(fetch) = store.next_fetch(now) {
                prop_assert!(under_way.is_none(), "two at a time");
                under_way = Some(fetch.purpose);
                if fetch.purpose == FetchPurpose::Keys {
                    // The shortest time between two questions is that before the first retry.
                    prop_assert!(asked_for_keys_at.is_none_or(|at| now >= at + policy.retry_first));
                    asked_for_keys_at = Some(now);
                }
            }
            prop_assert!(under_way.is_some() || store.next_due().is_some(), "nothing is to be done");
            let is_ready = matches!(store.availability(now), Availability::Ready(_));
            let end = keys_at.map(|at| at + policy.lifetime_default + policy.stale_max);
            prop_assert_eq!(is_ready, end.is_some_and(|end| now < end));
        }
    }
}
