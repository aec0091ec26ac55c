use serde_json::json;

use super::*;

const TIME: UnixSecs = UnixSecs(1_800_000_000);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn introspection(authentication: ClientAuthentication) -> Introspection {
    let audience = Audience::OneOf(vec!["mqtt".into()]);
    let settings = IntrospectionSettings {
        entries_max: 3,
        ..IntrospectionSettings::new("https://id/introspect", authentication, audience)
    };
    Introspection::new(settings, HashKey::new(&[3; 32]))
}

fn plain() -> Introspection {
    introspection(ClientAuthentication::None)
}

fn ask(introspection: &mut Introspection, token: &str, now: u64) -> Question {
    match introspection.look_up(token, secs(now), TIME) {
        LookUp::Ask(question) => question,
        LookUp::Known(known) => panic!("{known:?}"),
    }
}

fn known(introspection: &mut Introspection, token: &str, now: u64) -> Result<Claims, Refusal> {
    match introspection.look_up(token, secs(now), TIME) {
        LookUp::Known(known) => known,
        LookUp::Ask(question) => panic!("{question:?}"),
    }
}

fn active() -> Vec<u8> {
    json!({"active": true, "sub": "gardener", "aud": "mqtt", "exp": TIME.0 + 100})
        .to_string()
        .into_bytes()
}

/// Asks about `token` and answers.
fn answer(
    introspection: &mut Introspection,
    token: &str,
    status: u16,
    body: &[u8],
) -> Result<Claims, Refusal> {
    let question = ask(introspection, token, 0);
    introspection.answered(&question, status, body, secs(0), TIME)
}

#[test]
fn rfc7662_2_1_a_question_is_a_form_with_the_token_encoded() {
    let post = ask(&mut plain(), "a+b/c=", 0).post;
    assert_eq!(post.url, "https://id/introspect");
    assert_eq!(post.content_type, "application/x-www-form-urlencoded");
    assert_eq!(
        post.body,
        b"token=a%2Bb%2Fc%3D&token_type_hint=access_token"
    );
    assert_eq!(post.authorization, None);
    let id = "mqtt&broker".to_owned();
    let secret = "s e".to_owned();
    let form = ClientAuthentication::Form { id, secret };
    let post = ask(&mut introspection(form), "t", 0).post;
    let expected =
        b"token=t&token_type_hint=access_token&client_id=mqtt%26broker&client_secret=s+e";
    assert_eq!(post.body, expected);
    let bearer = ClientAuthentication::Bearer("own".into());
    let post = ask(&mut introspection(bearer), "t", 0).post;
    assert_eq!(post.authorization.as_deref(), Some("Bearer own"));
}

#[test]
fn an_active_token_is_not_asked_about_again_for_a_while() {
    let mut introspection = plain();
    let claims = answer(&mut introspection, "t", 200, &active()).unwrap();
    assert_eq!(claims.text(&Claim::SUB), Ok(Some("gardener")));
    assert_eq!(known(&mut introspection, "t", 59), Ok(claims));
    let _ = ask(&mut introspection, "t", 60);
    let _ = ask(&mut introspection, "u", 0);
}

#[test]
fn a_token_that_ends_while_its_answer_is_kept_is_refused() {
    let mut introspection = plain();
    let _ = answer(&mut introspection, "t", 200, &active()).unwrap();
    let later = introspection.look_up("t", secs(1), UnixSecs(TIME.0 + 160));
    assert!(matches!(later, LookUp::Known(Err(Refusal::Expired { .. }))));
}

#[test]
fn an_inactive_token_is_refused_and_forgotten_soon() {
    let mut introspection = plain();
    let found = answer(&mut introspection, "t", 200, br#"{"active":false}"#);
    assert_eq!(found, Err(Refusal::Inactive));
    assert_eq!(known(&mut introspection, "t", 9), Err(Refusal::Inactive));
    let _ = ask(&mut introspection, "t", 10);
}

#[test]
fn a_flood_of_bad_tokens_displaces_no_good_one_and_stays_bounded() {
    let mut introspection = plain();
    let _ = answer(&mut introspection, "good", 200, &active()).unwrap();
    for index in 0..100 {
        let token = format!("bad{index}");
        let _ = answer(&mut introspection, &token, 200, br#"{"active":false}"#);
    }
    assert!(known(&mut introspection, "good", 1).is_ok());
    assert_eq!(introspection.inactive.len(), 3);
}

#[test]
fn an_answer_that_cannot_be_used_refuses_and_is_not_kept() {
    let mut introspection = plain();
    let cases: [(u16, &[u8], &str); 9] = [
        (401, b"{\"active\":true}", "client id and secret"),
        (500, b"{\"active\":true}", "status 500"),
        (302, b"", "status 302"),
        (204, b"", "status 204"),
        (200, b"", "EOF"),
        (200, b"{}", "no boolean"),
        (200, b"{\"active\":\"true\"}", "no boolean"),
        (200, b"{\"active\":1}", "no boolean"),
        (200, b"{\"active\":true,\"active\":false}", "stands twice"),
    ];
    for (status, body, words) in cases {
        let refusal = answer(&mut introspection, "t", status, body).unwrap_err();
        assert!(matches!(refusal, Refusal::NoAnswer(_)), "{refusal}");
        assert!(refusal.to_string().contains(words), "{refusal}");
    }
}

#[test]
fn claims_are_judged_as_those_of_a_signed_token() {
    let mut introspection = plain();
    let mut check = |body: Value| {
        answer(&mut introspection, "t", 200, body.to_string().as_bytes()).unwrap_err()
    };
    let base = json!({"active": true, "aud": "web", "exp": TIME.0 + 1});
    assert_eq!(check(base), Refusal::Audience("web".into()));
    let refusal = plain_check(json!({"active": true, "aud": "mqtt", "exp": 5}));
    assert!(matches!(refusal, Err(Refusal::Expired { .. })));
    let refusal = plain_check(json!({"active": true, "aud": "mqtt", "exp": "soon"}));
    assert!(matches!(refusal, Err(Refusal::Malformed { .. })));
}

fn plain_check(body: Value) -> Result<Claims, Refusal> {
    answer(&mut plain(), "t", 200, body.to_string().as_bytes())
}

#[test]
fn a_token_whose_end_is_not_told_gets_one() {
    let claims = plain_check(json!({"active": true, "aud": "mqtt"})).unwrap();
    assert_eq!(claims.time(Claim::EXP), Ok(Some(UnixSecs(TIME.0 + 3600))));
}

#[test]
fn what_cannot_be_a_token_is_refused_without_a_request() {
    for (token, refusal) in [
        ("", Refusal::Empty),
        ("a b", Refusal::Inactive),
        ("ä", Refusal::Inactive),
        ("a\r\nb", Refusal::Inactive),
        (
            &"x".repeat(16_385),
            Refusal::TooLong {
                bytes: 16_385,
                max: 16_384,
            },
        ),
    ] {
        assert_eq!(known(&mut plain(), token, 0), Err(refusal));
    }
}

#[test]
fn tokens_are_not_in_memory_after_the_question_is_gone() {
    let mut introspection = plain();
    let token = "a-token-to-be-searched-for";
    let _ = answer(&mut introspection, token, 200, &active()).unwrap();
    assert!(!format!("{introspection:?}").contains(token));
    introspection.forget_all();
    let _ = ask(&mut introspection, token, 0);
}
