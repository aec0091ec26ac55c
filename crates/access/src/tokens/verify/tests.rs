use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::tokens::testing::{Signer, encode, encode_json, key_set};

const NOW: UnixSecs = UnixSecs(1_800_000_000);
const ISSUER: &str = "https://id.example.com";

fn checks() -> Checks {
    Checks {
        issuer: Some(ISSUER.to_owned()),
        ..Checks::new(Audience::OneOf(vec![
            "mqtt".to_owned(),
            "broker".to_owned(),
        ]))
    }
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "mqtt", "sub": "gardener", "exp": NOW.0 + 300, "iat": NOW.0})
}

fn with(mut value: Value, name: &str, member: impl Into<Value>) -> Value {
    value[name] = member.into();
    value
}

fn without(mut value: Value, name: &str) -> Value {
    value.as_object_mut().unwrap().remove(name);
    value
}

fn header(algorithm: Algorithm) -> Value {
    json!({"alg": algorithm.name(), "kid": "k"})
}

/// Signs with Ed25519 and verifies with `checks`.
fn verify(checks: &Checks, header: &Value, claims: &Value) -> Result<(), Refusal> {
    let signer = Signer::new(Algorithm::EdDsa);
    let token = signer.token(Algorithm::EdDsa, header, claims);
    let keys = key_set(&[signer.jwk(Some("k"))]);
    checks.verify(&token, &keys, NOW).map(|_| ())
}

fn check_claims(claims: &Value, expected: Result<(), Refusal>) {
    let found = verify(&checks(), &header(Algorithm::EdDsa), claims);
    assert_eq!(found, expected, "{claims}");
}

fn check_header(header: &Value, expected: Result<(), Refusal>) {
    assert_eq!(verify(&checks(), header, &claims()), expected, "{header}");
}

#[test]
fn a_token_of_every_algorithm_is_verified() {
    for algorithm in Algorithm::ASYMMETRIC {
        let signer = Signer::new(algorithm);
        let token = signer.token(algorithm, &header(algorithm), &claims());
        let keys = key_set(&[signer.jwk(Some("k"))]);
        let verified = checks().verify(&token, &keys, NOW).unwrap();
        assert_eq!(
            verified.text(&Claim::SUB),
            Ok(Some("gardener")),
            "{algorithm}"
        );
    }
}

/// RFC 8037 appendix A.4, which is no JWT but a JWS whose bytes others have made.
#[test]
fn rfc8037_a4_the_signature_of_the_example_is_verified() {
    let keys = key_set(&[json!({
        "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    })]);
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCj\
        P0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let found = checks().verify(token, &keys, NOW);
    assert!(matches!(found, Err(Refusal::Claims(_))), "{found:?}");
    let forged = token.replace(".hgyY", ".hgyZ");
    assert_eq!(
        checks().verify(&forged, &keys, NOW),
        Err(Refusal::Signature)
    );
}

#[test]
fn none_and_unknown_algorithms_are_refused_with_or_without_signature() {
    let keys = key_set(&[Signer::new(Algorithm::EdDsa).jwk(Some("k"))]);
    for name in ["none", "NONE", "nOnE", "", "HS256", "ES256K", "RS1"] {
        let head = encode_json(&json!({"alg": name, "kid": "k"}));
        for signature in ["", "AAAA"] {
            let token = format!("{head}.{}.{signature}", encode_json(&claims()));
            let found = checks().verify(&token, &keys, NOW);
            assert_eq!(found, Err(Refusal::Algorithm(name.to_owned())));
        }
    }
    check_header(&json!({"kid": "k"}), Err(Refusal::Algorithm(String::new())));
    let found = verify(&checks(), &json!({"alg": 1}), &claims());
    assert!(matches!(found, Err(Refusal::Header(_))));
}

/// The attack of 2015: a public key, known to all, taken for the secret of an HMAC.
#[test]
fn a_public_key_is_never_a_shared_secret() {
    let rsa = Signer::rsa();
    let Signer::Rsa(pair) = &rsa else {
        unreachable!()
    };
    let public = aws_lc_rs::signature::KeyPair::public_key(pair)
        .as_ref()
        .to_vec();
    let forged =
        Signer::Secret(public).token(Algorithm::Hs256, &header(Algorithm::Hs256), &claims());
    let keys = key_set(&[rsa.jwk(Some("k"))]);
    let mut checks = checks();
    assert_eq!(
        checks.verify(&forged, &keys, NOW),
        Err(Refusal::Algorithm("HS256".into()))
    );
    // Even where an operator allows both.
    checks.algorithms.push(Algorithm::Hs256);
    let expected = Refusal::NoKeyFor {
        algorithm: Algorithm::Hs256,
        key_id: Some("k".into()),
    };
    assert_eq!(checks.verify(&forged, &keys, NOW), Err(expected));
}

#[test]
fn every_swap_of_algorithms_is_refused() {
    let all = Algorithm::ASYMMETRIC
        .into_iter()
        .chain(Algorithm::SYMMETRIC);
    let mut checks = checks();
    checks.algorithms.extend(Algorithm::SYMMETRIC);
    for signed_with in all.clone() {
        let signer = Signer::new(signed_with);
        let keys = key_set(&[signer.jwk(Some("k"))]);
        for named in all.clone().filter(|named| *named != signed_with) {
            let token = signer.token(signed_with, &header(named), &claims());
            let found = checks.verify(&token, &keys, NOW);
            assert!(
                matches!(found, Err(Refusal::Signature | Refusal::NoKeyFor { .. })),
                "{signed_with} as {named}: {found:?}"
            );
        }
    }
}

#[test]
fn hmac_needs_an_algorithm_that_is_allowed_and_a_secret() {
    let signer = Signer::new(Algorithm::Hs256);
    let token = signer.token(Algorithm::Hs256, &header(Algorithm::Hs256), &claims());
    let keys = key_set(&[signer.jwk(Some("k"))]);
    let mut checks = checks();
    assert!(checks.verify(&token, &keys, NOW).is_err());
    checks.algorithms.push(Algorithm::Hs256);
    assert!(checks.verify(&token, &keys, NOW).is_ok());
}

#[test]
fn keys_inside_of_a_token_are_not_looked_at() {
    let forger = Signer::new(Algorithm::EdDsa);
    let head = json!({"alg": "EdDSA", "kid": "k", "jwk": forger.jwk(None), "jku": "https://evil"});
    let token = forger.token(Algorithm::EdDsa, &head, &claims());
    let keys = key_set(&[Signer::new(Algorithm::EdDsa).jwk(Some("k"))]);
    assert_eq!(checks().verify(&token, &keys, NOW), Err(Refusal::Signature));
}

#[test]
fn a_key_id_that_is_not_there_is_told_apart_from_a_wrong_signature() {
    let signer = Signer::new(Algorithm::EdDsa);
    let token = signer.token(Algorithm::EdDsa, &header(Algorithm::EdDsa), &claims());
    let other = Signer::new(Algorithm::EdDsa);
    let find = |keys: &[Value]| checks().verify(&token, &key_set(keys), NOW);
    let unknown = Err(Refusal::UnknownKey("k".into()));
    assert_eq!(find(&[other.jwk(Some("j"))]), unknown);
    // Keys without an id are tried, and a newer one may still be the right one.
    assert_eq!(find(&[other.jwk(None)]), unknown);
    assert!(find(&[signer.jwk(None)]).is_ok());
    assert_eq!(find(&[other.jwk(Some("k"))]), Err(Refusal::Signature));
    assert_eq!(checks().verify(&token, &KeySet::default(), NOW), unknown);
}

#[test]
fn a_token_without_key_id_is_tried_with_all_keys_that_suit() {
    let signer = Signer::new(Algorithm::EdDsa);
    let token = signer.token(Algorithm::EdDsa, &json!({"alg": "EdDSA"}), &claims());
    let other = Signer::new(Algorithm::EdDsa).jwk(Some("a"));
    let ec = Signer::new(Algorithm::Es256).jwk(Some("c"));
    let keys = key_set(&[other.clone(), ec.clone(), signer.jwk(Some("b"))]);
    assert!(checks().verify(&token, &keys, NOW).is_ok());
    assert_eq!(
        checks().verify(&token, &key_set(&[other]), NOW),
        Err(Refusal::Signature)
    );
    let found = checks().verify(&token, &key_set(&[ec]), NOW);
    assert!(matches!(found, Err(Refusal::NoKeyFor { key_id: None, .. })));
}

#[test]
fn times_are_judged_with_leeway() {
    let exp = |secs| with(claims(), "exp", secs);
    check_claims(&exp(NOW.0 - 59), Ok(()));
    check_claims(&exp(NOW.0 - 60), Err(Refusal::Expired { secs_ago: 60 }));
    check_claims(&with(claims(), "exp", NOW.0 as f64 + 0.5), Ok(()));
    check_claims(&exp(u64::MAX), Ok(()));
    for claim in [Claim::NBF, Claim::IAT] {
        let name = claim.to_string();
        let name = name.trim_matches('"');
        check_claims(&with(claims(), name, NOW.0 + 60), Ok(()));
        check_claims(
            &with(claims(), name, NOW.0 + 61),
            Err(Refusal::NotYet {
                claim,
                secs_ahead: 61,
            }),
        );
    }
}

#[test]
fn times_that_are_none_are_refused() {
    for value in [
        json!("1800000000"),
        json!(-1),
        json!([1]),
        json!(true),
        json!({}),
    ] {
        for claim in [Claim::EXP, Claim::NBF, Claim::IAT] {
            let name = claim.to_string();
            let expected = "a time in seconds since 1970";
            check_claims(
                &with(claims(), name.trim_matches('"'), value.clone()),
                Err(Refusal::Malformed { claim, expected }),
            );
        }
    }
}

#[test]
fn a_token_must_say_when_it_ends_unless_told_otherwise() {
    let endless = without(claims(), "exp");
    check_claims(&endless, Err(Refusal::Missing(Claim::EXP)));
    check_claims(
        &with(claims(), "exp", Value::Null),
        Err(Refusal::Missing(Claim::EXP)),
    );
    let optional = Checks {
        expiry: Expiry::Optional,
        ..checks()
    };
    assert_eq!(
        verify(&optional, &header(Algorithm::EdDsa), &endless),
        Ok(())
    );
}

#[test]
fn the_issuer_is_compared_to_the_letter() {
    check_claims(&without(claims(), "iss"), Err(Refusal::Missing(Claim::ISS)));
    for other in [
        &*format!("{ISSUER}/"),
        "https://ID.example.com",
        "https://evil.example",
    ] {
        check_claims(
            &with(claims(), "iss", other),
            Err(Refusal::Issuer(other.into())),
        );
    }
    let expected = "a string";
    let claim = Claim::ISS;
    check_claims(
        &with(claims(), "iss", json!([ISSUER])),
        Err(Refusal::Malformed { claim, expected }),
    );
    let any = Checks {
        issuer: None,
        ..checks()
    };
    assert_eq!(
        verify(&any, &header(Algorithm::EdDsa), &without(claims(), "iss")),
        Ok(())
    );
}

#[test]
fn the_audience_is_one_or_several() {
    check_claims(&with(claims(), "aud", json!(["web", "broker"])), Ok(()));
    check_claims(
        &with(claims(), "aud", "web"),
        Err(Refusal::Audience("web".into())),
    );
    check_claims(
        &with(claims(), "aud", json!([])),
        Err(Refusal::Missing(Claim::AUD)),
    );
    check_claims(&without(claims(), "aud"), Err(Refusal::Missing(Claim::AUD)));
    let found = verify(
        &checks(),
        &header(Algorithm::EdDsa),
        &with(claims(), "aud", json!(["mqtt", 1])),
    );
    assert!(matches!(found, Err(Refusal::Malformed { .. })));
    let any = Checks {
        audience: Audience::Any,
        ..checks()
    };
    assert_eq!(
        verify(&any, &header(Algorithm::EdDsa), &without(claims(), "aud")),
        Ok(())
    );
}

#[test]
fn tokens_for_other_purposes_are_refused_by_their_type() {
    let typed = |typ: &str| with(header(Algorithm::EdDsa), "typ", typ);
    for typ in [
        "JWT",
        "jwt",
        "at+jwt",
        "application/at+JWT",
        "Application/jwt",
    ] {
        check_header(&typed(typ), Ok(()));
    }
    for typ in ["logout+jwt", "dpop+jwt", "", "é", "application/"] {
        check_header(&typed(typ), Err(Refusal::Type(Some(typ.into()))));
    }
    let strict = Checks {
        types: Types::OneOf(vec!["at+jwt".to_owned()]),
        ..checks()
    };
    assert_eq!(verify(&strict, &typed("AT+jwt"), &claims()), Ok(()));
    for (head, found) in [
        (typed("JWT"), Some("JWT")),
        (header(Algorithm::EdDsa), None),
    ] {
        let expected = Err(Refusal::Type(found.map(str::to_owned)));
        assert_eq!(verify(&strict, &head, &claims()), expected);
    }
}

#[test]
fn extensions_that_must_be_understood_are_refused() {
    for crit in [json!(["b64"]), json!([]), Value::Null] {
        check_header(
            &with(header(Algorithm::EdDsa), "crit", crit),
            Err(Refusal::Critical),
        );
    }
}

#[test]
fn sizes_are_bounded_before_anything_is_read() {
    let long = format!("{}.e30.AA", "A".repeat(16 * 1024));
    let keys = KeySet::default();
    let found = checks().verify(&long, &keys, NOW);
    assert_eq!(
        found,
        Err(Refusal::TooLong {
            bytes: 16_391,
            max: 16_384
        })
    );
    check_header(
        &with(header(Algorithm::EdDsa), "x5c", "x".repeat(1900)),
        Ok(()),
    );
    let found = verify(
        &checks(),
        &with(header(Algorithm::EdDsa), "x5c", "x".repeat(2048)),
        &claims(),
    );
    assert!(matches!(found, Err(Refusal::Header(_))), "{found:?}");
    let found = verify(
        &checks(),
        &with(header(Algorithm::EdDsa), "kid", "x".repeat(257)),
        &claims(),
    );
    assert!(matches!(found, Err(Refusal::Header(_))), "{found:?}");
    let deep: Value = serde_json::from_str(&format!("{}{}", "[".repeat(9), "]".repeat(9))).unwrap();
    let found = verify(
        &checks(),
        &header(Algorithm::EdDsa),
        &with(claims(), "deep", deep),
    );
    assert!(matches!(found, Err(Refusal::Claims(_))), "{found:?}");
    let many = with(claims(), "many", vec![0; 4096]);
    let found = verify(&checks(), &header(Algorithm::EdDsa), &many);
    assert!(matches!(found, Err(Refusal::Claims(_))), "{found:?}");
}

#[test]
fn what_is_no_signed_token_is_refused_with_its_reason() {
    for (token, words) in [
        ("", "no token"),
        ("abc", "three parts"),
        ("a.b", "three parts"),
        ("a.b.c.d", "three parts"),
        ("a.b.c.d.e", "encrypted"),
        ("!.e30.AA", "first part"),
        ("e30=.e30.AA", "first part"),
        ("ew.e30.AA", "header"),
        ("e30.e30.AA", "algorithm"),
        ("W10.e30.AA", "an array, not an object"),
        (
            "eyJhbGciOiJFUzI1NiIsImFsZyI6Im5vbmUifQ.e30.AA",
            "stands twice",
        ),
        ("eyJhbGciOiJFUzI1NiJ9.e30.A", "third part"),
        ("eyJhbGciOiJFUzI1NiJ9.e30.AB", "third part"),
        (
            "eyJhbGciOiJFUzI1NiJ9.e30.AA",
            "no key can be used with ES256",
        ),
    ] {
        let refusal = checks().verify(token, &KeySet::default(), NOW).unwrap_err();
        assert!(refusal.to_string().contains(words), "{token}: {refusal}");
    }
}

#[test]
fn signed_tokens_are_told_apart_from_opaque_ones() {
    assert!(looks_signed("eyJhbGciOiJFUzI1NiJ9.e30.AA"));
    for token in ["", "2YotnFZFEjr1zCsicMWpAA", "a.b.c", "eyJ.a.b.c.d"] {
        assert!(!looks_signed(token), "{token}");
    }
}

#[test]
fn the_issuer_can_be_read_to_choose_the_keys() {
    let limits = Limits::default();
    let token = format!("e30.{}.AA", encode_json(&claims()));
    assert_eq!(unverified_issuer(&token, &limits).as_deref(), Some(ISSUER));
    for token in [
        "",
        "a.b.c",
        "e30.e30.AA",
        &format!("e30.{}.AA", encode(b"{\"iss\":1}")),
    ] {
        assert_eq!(unverified_issuer(token, &limits), None);
    }
}

#[test]
fn reasons_show_nothing_that_could_forge_a_line_of_the_log() {
    let refusal = verify(&checks(), &json!({"alg": "a\nb\u{1b}[31m"}), &claims()).unwrap_err();
    let shown = refusal.to_string();
    assert!(shown.chars().all(|c| !c.is_control()), "{shown:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Any one bit of header, claims or signature.
    #[test]
    fn a_token_with_a_changed_bit_is_refused(at in 0.0..1.0_f64, bit in 0..8_u8, which in 0..4_usize) {
        let algorithm = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256, Algorithm::Ps256][which];
        let signer = Signer::new(algorithm);
        let mut token = signer.token(algorithm, &header(algorithm), &claims()).into_bytes();
        let keys = key_set(&[signer.jwk(Some("k"))]);
        let index = (at * token.len() as f64) as usize;
        token[index] ^= 1 << bit;
        if let Ok(token) = String::from_utf8(token) {
            prop_assert!(checks().verify(&token, &keys, NOW).is_err(), "{token}");
        }
    }

    /// The decoded parts, changed and encoded again, so that base64 does not catch it.
    #[test]
    fn claims_and_headers_with_a_changed_bit_are_refused(at in 0.0..1.0_f64, bit in 0..8_u8, part in 0..3_usize) {
        use base64::Engine as _;
        let signer = Signer::new(Algorithm::Es256);
        let token = signer.token(Algorithm::Es256, &header(Algorithm::Es256), &claims());
        let mut parts: Vec<Vec<u8>> = token
            .split('.')
            .map(|part| URL_SAFE_NO_PAD.decode(part).unwrap())
            .collect();
        let index = (at * parts[part].len() as f64) as usize;
        parts[part][index] ^= 1 << bit;
        let changed: Vec<_> = parts.iter().map(|part| encode(part)).collect();
        let keys = key_set(&[signer.jwk(Some("k"))]);
        prop_assert!(checks().verify(&changed.join("."), &keys, NOW).is_err());
    }

    #[test]
    fn noise_is_refused_without_a_panic(noise in "\\PC{0,200}", head in "[A-Za-z0-9_.-]{0,200}") {
        for token in [&noise, &head, &format!("eyJhbGciOiJFUzI1NiJ9.{head}")] {
            prop_assert!(checks().verify(token, &KeySet::default(), NOW).is_err());
        }
    }
}
