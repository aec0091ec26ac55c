use proptest::prelude::*;

use super::*;

const TOKEN: &str = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";

fn fault(message: &str) -> MessageFault {
    Credentials::parse(message.as_bytes()).unwrap_err()
}

#[test]
fn rfc7628_4_1_the_first_message_of_the_example_is_read() {
    let message = format!(
        "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer {TOKEN}\x01\x01"
    );
    let expected = Credentials {
        acts_as: Some("user@example.com".into()),
        host: Some("server.example.com"),
        port: Some(143),
        token: Some(TOKEN),
    };
    assert_eq!(Credentials::parse(message.as_bytes()), Ok(expected.clone()));
    assert_eq!(expected.message(), Ok(message.into_bytes()));
}

#[test]
fn the_shortest_message_has_a_token_alone() {
    let message = format!("n,,\x01auth=Bearer {TOKEN}\x01\x01");
    assert_eq!(
        Credentials::new(TOKEN).message(),
        Ok(message.clone().into_bytes())
    );
    assert_eq!(
        Credentials::parse(message.as_bytes()),
        Ok(Credentials::new(TOKEN))
    );
    let lower = message.replace("Bearer", "bearer").replace("n,,", "y,,");
    assert_eq!(
        Credentials::parse(lower.as_bytes()),
        Ok(Credentials::new(TOKEN))
    );
}

#[test]
fn rfc7628_4_3_a_client_may_ask_where_to_get_a_token() {
    let found = Credentials::parse(b"n,,\x01auth=\x01\x01").unwrap();
    assert_eq!(found.token, None);
}

#[test]
fn names_with_commas_and_equals_signs_are_escaped() {
    let credentials = Credentials {
        acts_as: Some("a,b=c".into()),
        ..Credentials::new(TOKEN)
    };
    let message = credentials.message().unwrap();
    assert!(message.starts_with(b"n,a=a=2Cb=3Dc,\x01"));
    assert_eq!(Credentials::parse(&message), Ok(credentials));
}

#[test]
fn unknown_parts_are_left_alone() {
    let message = format!("n,,\x01mode=x\x01auth=Bearer {TOKEN}\x01\x01");
    assert_eq!(
        Credentials::parse(message.as_bytes()),
        Ok(Credentials::new(TOKEN))
    );
}

#[test]
fn other_messages_are_refused_with_their_reason() {
    let form = |message: &str| matches!(fault(message), MessageFault::Form(_));
    for message in [
        "",
        "n,,",
        "\x01",
        "n,,\x01",
        "n,,\x01\x01",
        "n,,\x01auth=Bearer abc",
        "n,,\x01auth=Bearer abc\x01",
        "n,,\x01auth=Bearer abc\x01auth=Bearer abd\x01\x01",
        "n,,\x01host=a\x01\x01",
        "n,,\x01auth\x01\x01",
        "n,,\x01=x\x01auth=Bearer abc\x01\x01",
        "n,,\x01port=70000\x01auth=Bearer abc\x01\x01",
        "n,a=,\x01auth=Bearer abc\x01\x01",
        "n,a=x=41,\x01auth=Bearer abc\x01\x01",
        "n,x,\x01auth=Bearer abc\x01\x01",
        "n,a=a,b,\x01auth=Bearer abc\x01\x01",
        "x,,\x01auth=Bearer abc\x01\x01",
    ] {
        assert!(form(message), "{message:?}: {:?}", fault(message));
    }
    for auth in [
        "Basic abc",
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "Bearer =",
        "Bearer ä",
        "x",
    ] {
        let message = format!("n,,\x01auth={auth}\x01\x01");
        assert_eq!(fault(&message), MessageFault::Token, "{auth}");
    }
    let message = "p=tls-unique,,\x01auth=Bearer abc\x01\x01";
    assert_eq!(fault(message), MessageFault::ChannelBinding);
    let bytes = MESSAGE_BYTES_MAX + 1;
    assert_eq!(fault(&"x".repeat(bytes)), MessageFault::TooLong(bytes));
    let found = Credentials::parse(b"n,,\x01auth=Bearer \xFF\x01\x01");
    assert!(matches!(found, Err(MessageFault::Form(_))));
}

#[test]
fn a_client_sends_nothing_that_could_be_read_differently() {
    for (host, token) in [
        (Some("a\x01auth=Bearer x"), TOKEN),
        (None, "a b"),
        (None, ""),
        (None, "a\x01b"),
    ] {
        let credentials = Credentials {
            host,
            ..Credentials::new(token)
        };
        assert!(credentials.message().is_err(), "{host:?} {token:?}");
    }
}

#[test]
fn a_challenge_says_that_the_token_is_not_taken_and_no_more() {
    let message = Challenge::invalid_token().message();
    assert_eq!(message, br#"{"status":"invalid_token"}"#);
    let challenge = Challenge {
        scope: Some("mqtt.publish:a".into()),
        openid_configuration: Some("https://id/.well-known/openid-configuration".into()),
        ..Challenge::invalid_token()
    };
    assert_eq!(Challenge::parse(&challenge.message()), Ok(challenge));
    for message in [&b""[..], b"{}", b"[]", b"{\"status\":1}"] {
        let fault = Challenge::parse(message).unwrap_err();
        assert!(matches!(fault, MessageFault::Challenge(_)));
    }
}

#[test]
fn an_authorization_header_holds_a_token() {
    assert_eq!(
        bearer_token("Bearer abc.def-_~+/=="),
        Some("abc.def-_~+/==")
    );
    assert_eq!(bearer_token(" bearer  abc "), Some("abc"));
    for header in [
        "",
        "Bearer",
        "Basic YTpi",
        "Bearer a b",
        "Bearer a,b",
        "Bearerabc",
    ] {
        assert_eq!(bearer_token(header), None, "{header}");
    }
}

#[test]
fn debug_output_shows_no_token() {
    assert!(!format!("{:?}", Credentials::new(TOKEN)).contains(TOKEN));
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        name in prop::option::of("[a-z,=@é]{1,10}"),
        token in "[A-Za-z0-9._~+/-]{1,40}={0,2}",
        port in any::<Option<u16>>(),
    ) {
        let credentials = Credentials {
            acts_as: name.map(Cow::Owned),
            host: Some("h"),
            port,
            token: Some(&token),
        };
        let message = credentials.message().unwrap();
        prop_assert_eq!(Credentials::parse(&message), Ok(credentials));
    }

    #[test]
    fn noise_is_read_without_a_panic(noise in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = Credentials::parse(&noise);
        let _ = Challenge::parse(&noise);
    }
}
