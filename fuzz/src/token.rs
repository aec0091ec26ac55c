//! What clients send to log in: tokens, and the messages of OAUTHBEARER; and what a token claims.
//!
//! The first byte of an input chooses what the others are.

use std::time::Duration;

use midge_access::Action;
use midge_access::tokens::identity::{Claim, ClaimNames, Presented, ScopeRules};
use midge_access::tokens::introspection::{Introspection, IntrospectionSettings, LookUp};
use midge_access::tokens::keys::{KeySet, ParsedKeys, Symmetric, parse_jwks};
use midge_access::tokens::oauthbearer::{Challenge, Credentials, MESSAGE_BYTES_MAX};
use midge_access::tokens::verify::{Audience, Checks, looks_signed, unverified_issuer};
use midge_access::tokens::{ClientAuthentication, HashKey, Refusal, UnixSecs};

/// The key of RFC 8037 appendix A.2, whose private half everybody knows, so that inputs can be signed.
pub const KEYS: &[u8] = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"rfc8037",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// When inputs are judged.
pub const TIME: UnixSecs = UnixSecs(1_800_000_000);

/// Reads `input` as what its first byte says.
///
/// # Panics
/// When a promise is broken.
pub fn check(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else {
        return;
    };
    match kind % 4 {
        0 => {
            let _ = verify(bytes);
        }
        1 => {
            let _ = claims(bytes);
        }
        2 => credentials(bytes),
        _ => challenge(bytes),
    }
}

/// Verifies a token; the text of a refusal is short and on one line.
///
/// # Panics
/// When a promise is broken.
pub fn verify(bytes: &[u8]) -> Option<Result<(), Refusal>> {
    let token = core::str::from_utf8(bytes).ok()?;
    let checks = Checks {
        issuer: Some("https://id.example.com".to_owned()),
        ..Checks::new(Audience::OneOf(vec!["mqtt".to_owned()]))
    };
    let Ok(ParsedKeys { keys, .. }) = parse_jwks(KEYS, Symmetric::Refused) else {
        unreachable!("the keys are right");
    };
    let found = checks.verify(token, &keys, TIME);
    let _ = looks_signed(token);
    let _ = unverified_issuer(token, &checks.limits);
    match &found {
        Ok(_) => {
            // What is taken is taken because of the key, and because of the time.
            assert!(looks_signed(token));
            assert!(checks.verify(token, &KeySet::default(), TIME).is_err());
            assert!(checks.verify(token, &keys, UnixSecs(u64::MAX)).is_err());
        }
        Err(refusal) => check_reason(refusal),
    }
    Some(found.map(|_| ()))
}

/// Takes claims, as of a token whose signature is right, and makes rules of them.
///
/// # Panics
/// When a promise is broken.
pub fn claims(bytes: &[u8]) -> Result<(), Refusal> {
    let settings =
        IntrospectionSettings::new("https://id/", ClientAuthentication::None, Audience::Any);
    let mut introspection = Introspection::new(settings, HashKey::new(&[1; 32]));
    let LookUp::Ask(question) = introspection.look_up("t", Duration::ZERO, TIME) else {
        unreachable!("nothing is known yet");
    };
    let names = ClaimNames {
        groups: Some(Claim::at("realm_access.roles")),
        scopes: Some(ScopeRules {
            claim: Claim::SCOPE,
            prefix: "mqtt.".to_owned(),
        }),
        ..ClaimNames::default()
    };
    let presented = Presented {
        client_id: "sensor-7",
        user_name: None,
        certificate_sha256: None,
    };
    let found = introspection
        .answered(&question, 200, bytes, Duration::ZERO, TIME)
        .and_then(|claims| names.identity(&claims, &presented));
    let identity = found.inspect_err(check_reason)?;
    let has_time_left = |end: UnixSecs| end.saturating_add(60) > TIME;
    assert!(identity.expires_at.is_some_and(has_time_left));
    let Some(rules) = identity.rules else {
        return Ok(());
    };
    for action in [Action::Publish, Action::Deliver, Action::Subscribe] {
        for topic in ["a/b", "garden/sensor-7/x", "#", "$share/g/a/+", "$SYS/x"] {
            let decision = rules.explain(action, topic);
            assert_eq!(decision.allowed, rules.decide(action, topic));
        }
    }
    Ok(())
}

fn credentials(bytes: &[u8]) {
    match Credentials::parse(bytes) {
        Ok(read) => {
            assert!(bytes.len() <= MESSAGE_BYTES_MAX);
            // Unknown parts are left out and the order may change, but no meaning is lost.
            if let Ok(message) = read.message() {
                assert_eq!(Credentials::parse(&message), Ok(read));
            }
        }
        Err(fault) => assert!(fault.to_string().len() < 500),
    }
}

fn challenge(bytes: &[u8]) {
    if let Ok(challenge) = Challenge::parse(bytes) {
        assert_eq!(Challenge::parse(&challenge.message()), Ok(challenge));
    }
}

fn check_reason(refusal: &Refusal) {
    let text = refusal.to_string();
    assert!(text.chars().count() < 1000, "{text}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
}
