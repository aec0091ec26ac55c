use serde_json::{Value, json};

use super::*;
use crate::tokens::testing::{Signer, encode, jwks};

fn all() -> impl Iterator<Item = Algorithm> {
    Algorithm::ASYMMETRIC
        .into_iter()
        .chain(Algorithm::SYMMETRIC)
}

/// The reason for which a set of this key alone is refused.
fn skipped(key: &Value) -> KeyFault {
    match parse_jwks(&jwks(std::slice::from_ref(key)), Symmetric::Refused) {
        Err(KeysFault::NoUsableKey(skipped)) => skipped[0].why.clone(),
        other => panic!("{other:?}"),
    }
}

fn with(mut key: Value, name: &str, value: impl Into<Value>) -> Value {
    key[name] = value.into();
    key
}

#[test]
fn every_algorithm_verifies_its_own_signatures_and_no_others() {
    for algorithm in all() {
        let signer = Signer::new(algorithm);
        let set = parse_jwks(&jwks(&[signer.jwk(Some("k"))]), Symmetric::Allowed).unwrap();
        let signature = signer.sign(algorithm, b"message");
        let key = &set.keys.keys[0];
        assert!(
            key.verifies(algorithm, b"message", &signature),
            "{algorithm}"
        );
        assert!(
            !key.verifies(algorithm, b"massage", &signature),
            "{algorithm}"
        );
        for other in all().filter(|other| *other != algorithm) {
            assert!(
                !key.verifies(other, b"message", &signature),
                "{algorithm} as {other}"
            );
        }
    }
}

#[test]
fn names_of_algorithms_are_exact_and_none_is_no_algorithm() {
    for algorithm in all() {
        assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
    }
    assert_eq!(Algorithm::from_name("Ed25519"), Some(Algorithm::EdDsa));
    for name in ["none", "None", "", "rs256", "RS256 ", "ES256K", "HS1"] {
        assert_eq!(Algorithm::from_name(name), None, "{name}");
    }
}

#[test]
fn a_declared_algorithm_is_the_only_one() {
    let signer = Signer::rsa();
    let key = with(signer.jwk(None), "alg", "PS256");
    let set = parse_jwks(&jwks(&[key]), Symmetric::Refused).unwrap().keys;
    assert!(set.keys[0].suits(Algorithm::Ps256));
    assert!(!set.keys[0].suits(Algorithm::Rs256));
    let signature = signer.sign(Algorithm::Rs256, b"x");
    assert!(!set.keys[0].verifies(Algorithm::Rs256, b"x", &signature));
}

#[test]
fn keys_that_cannot_be_used_are_skipped_with_a_reason_and_the_rest_serves() {
    let good = Signer::new(Algorithm::Es256).jwk(Some("good"));
    let bad = with(good.clone(), "kid", "bad");
    let set = jwks(&[
        with(bad.clone(), "use", "enc"),
        json!("nonsense"),
        good,
        with(bad, "crv", "secp256k1"),
    ]);
    let parsed = parse_jwks(&set, Symmetric::Refused).unwrap();
    assert_eq!(parsed.keys.len(), 1);
    assert!(parsed.keys.has_id("good"));
    let skipped: Vec<_> = parsed.skipped.iter().map(ToString::to_string).collect();
    assert_eq!(
        skipped,
        [
            "key 0 (\"bad\"): it is for \"enc\", not for signatures",
            "key 1: \"kty\" is missing or malformed",
            "key 3 (\"bad\"): the curve \"secp256k1\" is not supported",
        ]
    );
}

#[test]
fn each_fault_of_a_key_has_its_reason() {
    let ec = Signer::new(Algorithm::Es256).jwk(None);
    let rsa = Signer::rsa().jwk(None);
    let ed = Signer::new(Algorithm::EdDsa).jwk(None);
    let secret = Signer::new(Algorithm::Hs256).jwk(None);
    let short = encode(&[0x80; 128]);
    let long = encode(&[0x80; 1025]);
    for (key, expected) in [
        (secret, KeyFault::Symmetric),
        (with(ec.clone(), "d", "AA"), KeyFault::Private),
        (with(ec.clone(), "kty", "LMS"), KeyFault::Type("LMS".into())),
        (with(ec.clone(), "kty", 1), KeyFault::Member("kty")),
        (with(ec.clone(), "kid", 1), KeyFault::Member("kid")),
        (
            with(ec.clone(), "kid", "x".repeat(257)),
            KeyFault::Member("kid"),
        ),
        (
            with(ec.clone(), "alg", "none"),
            KeyFault::Algorithm("none".into()),
        ),
        (
            with(ec.clone(), "alg", "RS256"),
            KeyFault::Unsuited {
                kind: KeyKind::P256,
                algorithm: Algorithm::Rs256,
            },
        ),
        (
            with(rsa.clone(), "alg", "HS256"),
            KeyFault::Unsuited {
                kind: KeyKind::Rsa,
                algorithm: Algorithm::Hs256,
            },
        ),
        (
            with(ec.clone(), "key_ops", json!(["sign"])),
            KeyFault::Use("other operations".into()),
        ),
        (with(ec.clone(), "crv", "P-384"), KeyFault::Member("x")),
        (with(ec.clone(), "x", "AA"), KeyFault::Member("x")),
        (with(ec.clone(), "y", "!"), KeyFault::Member("y")),
        // A point beside the curve.
        (
            with(ec, "x", encode(&[1; 32])),
            KeyFault::Rejected(KeyKind::P256),
        ),
        (with(rsa.clone(), "n", short), KeyFault::RsaBits(1024)),
        (with(rsa.clone(), "n", long), KeyFault::RsaBits(8200)),
        (
            with(rsa.clone(), "e", encode(&[1; 5])),
            KeyFault::Member("e"),
        ),
        (
            with(rsa.clone(), "e", encode(&[2])),
            KeyFault::Rejected(KeyKind::Rsa),
        ),
        (with(rsa, "n", ""), KeyFault::Member("n")),
        (
            with(ed.clone(), "crv", "Ed448"),
            KeyFault::Curve("Ed448".into()),
        ),
        (with(ed, "x", encode(&[1; 31])), KeyFault::Member("x")),
    ] {
        assert_eq!(skipped(&key), expected, "{key}");
    }
}

#[test]
fn a_shared_secret_must_be_as_long_as_what_it_makes() {
    for (bytes, count) in [(31, 0), (32, 1), (48, 2), (64, 3)] {
        let key = json!({"kty": "oct", "k": encode(&vec![1; bytes])});
        let parsed = parse_jwks(&jwks(&[key]), Symmetric::Allowed);
        let found = parsed.map_or(0, |parsed| parsed.keys.keys[0].forms.len());
        assert_eq!(found, count, "{bytes} bytes");
    }
}

#[test]
fn a_set_is_bounded() {
    let key = Signer::new(Algorithm::EdDsa).jwk(None);
    let fault = |keys: &[u8]| parse_jwks(keys, Symmetric::Refused).unwrap_err();
    assert!(parse_jwks(&jwks(&vec![key.clone(); 64]), Symmetric::Refused).is_ok());
    assert_eq!(fault(&jwks(&vec![key; 65])), KeysFault::TooMany(65));
    assert!(matches!(
        fault(&vec![b' '; KEYS_BYTES_MAX + 1]),
        KeysFault::Json(_)
    ));
    assert_eq!(fault(b"{\"keys\":{}}"), KeysFault::NoKeysMember);
    assert_eq!(fault(b"{\"keys\":[]}"), KeysFault::NoUsableKey(Vec::new()));
    assert!(matches!(fault(b"[]"), KeysFault::Json(_)));
}

#[test]
fn candidates_are_chosen_by_id_then_by_algorithm_and_are_few() {
    let ec = Signer::new(Algorithm::Es256);
    let set = KeySet::joined([
        parse_jwks(
            &jwks(&[
                ec.jwk(Some("a")),
                ec.jwk(None),
                Signer::rsa().jwk(Some("a")),
            ]),
            Symmetric::Refused,
        )
        .unwrap()
        .keys,
        parse_jwks(&jwks(&vec![ec.jwk(Some("many")); 20]), Symmetric::Refused)
            .unwrap()
            .keys,
    ]);
    let ids = |algorithm, id| -> Vec<Option<&str>> {
        set.candidates(algorithm, id).map(Key::id).collect()
    };
    assert_eq!(ids(Algorithm::Es256, Some("a")), [Some("a")]);
    assert_eq!(ids(Algorithm::Rs256, Some("a")), [Some("a")]);
    assert_eq!(ids(Algorithm::Es256, Some("unknown")), [None]);
    assert!(ids(Algorithm::Es384, Some("a")).is_empty());
    assert_eq!(ids(Algorithm::Es256, None).len(), KeySet::TRIED_MAX);
}

/// Wraps DER up as PEM.
fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = body
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

#[test]
fn pem_files_hold_keys_of_every_kind() {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::signature::KeyPair as _;
    let mut text = "what stands around is left alone\n".to_owned();
    let mut signed = Vec::new();
    for algorithm in [
        Algorithm::Rs256,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Es512,
    ] {
        let signer = Signer::new(algorithm);
        let der = match &signer {
            Signer::Rsa(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Signer::Ec(pair, _) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            _ => unreachable!(),
        };
        text += &pem("PUBLIC KEY", &der);
        signed.push((algorithm, signer.sign(algorithm, b"m")));
    }
    let ed = Signer::new(Algorithm::EdDsa);
    let Signer::Ed(pair) = &ed else {
        unreachable!()
    };
    text += &pem("PUBLIC KEY", pair.public_key().as_der().unwrap().as_ref());
    signed.push((Algorithm::EdDsa, ed.sign(Algorithm::EdDsa, b"m")));
    text += &pem("CERTIFICATE", b"x");
    let parsed = parse_pem(text.as_bytes()).unwrap();
    assert_eq!(parsed.keys.len(), 5);
    assert!(
        parsed.skipped[0]
            .to_string()
            .starts_with("key 5: a certificate")
    );
    for (algorithm, signature) in signed {
        let verified = parsed
            .keys
            .candidates(algorithm, Some("any"))
            .any(|key| key.verifies(algorithm, b"m", &signature));
        assert!(verified, "{algorithm}");
    }
}

#[test]
fn a_pem_file_without_public_key_says_what_to_do() {
    let why = |text: &str| parse_pem(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(why(""), "no usable key");
    assert_eq!(why("hello"), "no usable key");
    assert!(why(&pem("PRIVATE KEY", b"x")).contains("openssl pkey -pubout"));
    assert!(why(&pem("CERTIFICATE", b"x")).contains("openssl x509 -pubkey"));
    assert!(why(&pem("PUBLIC KEY", b"x")).contains("no key that is supported"));
    assert!(why(&pem("PUBLIC KEY", &[4; 65])).contains("no key that is supported"));
    assert!(why("-----BEGIN PUBLIC KEY-----\nAAAA").contains("no end"));
    assert!(why("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n").contains("base64"));
    assert!(matches!(
        parse_pem(&vec![b'-'; KEYS_BYTES_MAX + 1]),
        Err(KeysFault::TooLong(_))
    ));
}

#[test]
fn a_short_rsa_key_in_pem_is_refused() {
    // openssl genrsa 1024, its public half.
    let text = "-----BEGIN PUBLIC KEY-----\n\
        MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDgiv/CcWpwhyozkkhfb+ZlpL5O\n\
        Iin855eDvyT5m/rit7Kg/QauZ0C3eE6zIMNMHFjnhOztBcpS4FI2cDZ19d0+5Lfp\n\
        bu+a0O7fzPtCteYx5uvGczEfAukI6nIHLthYylnnSpDH5p6U0w/g0jy2h7bvsWdJ\n\
        Ea9wx3VusGSbJmUthwIDAQAB\n\
        -----END PUBLIC KEY-----\n";
    let why = parse_pem(text.as_bytes()).unwrap_err().to_string();
    assert!(why.contains("1024 bits"), "{why}");
}

#[test]
fn debug_output_shows_no_secret() {
    let set = parse_jwks(
        &jwks(&[Signer::new(Algorithm::Hs256).jwk(Some("s"))]),
        Symmetric::Allowed,
    );
    let shown = format!("{set:?}");
    assert!(
        shown.contains("\"HS256\"") && !shown.contains("[7, 7"),
        "{shown}"
    );
}
