use super::super::ScramHash;
use super::*;

const MECHANISM: Mechanism = Mechanism {
    hash: ScramHash::Sha256,
    plus: false,
};

fn client() -> Client {
    Client::with_nonce(MECHANISM, "u", b"pencil", None, "C".to_owned()).0
}

#[track_caller]
fn check_refused(answer: &str, error: ClientError) {
    assert_eq!(
        client().answer(answer.as_bytes()).unwrap_err(),
        error,
        "{answer}"
    );
}

#[test]
fn answers_that_are_none_or_too_cheap_or_too_dear_are_refused() {
    let malformed = ClientError::Malformed;
    check_refused("", malformed("nonce"));
    check_refused("r=C,s=AAAA,i=4096", malformed("nonce"));
    check_refused("r=XS,s=AAAA,i=4096", malformed("nonce"));
    check_refused("r=CS", malformed("salt"));
    check_refused("r=CS,s=,i=4096", malformed("salt"));
    check_refused("r=CS,s=!,i=4096", malformed("salt"));
    check_refused("r=CS,s=AAAA", malformed("iterations"));
    check_refused("r=CS,s=AAAA,i=x", malformed("iterations"));
    check_refused("r=CS,s=AAAA,i=99999999999", malformed("iterations"));
    check_refused(
        "m=x,r=CS,s=AAAA,i=4096",
        malformed("unknown mandatory extension"),
    );
    check_refused("r=CS,s=AAAA,i=4095", ClientError::Iterations(4095));
    check_refused(
        "r=CS,s=AAAA,i=10000001",
        ClientError::Iterations(10_000_001),
    );
    let not_utf8 = client().answer(b"\xFF").unwrap_err();
    assert_eq!(not_utf8, malformed("UTF-8"));
}

#[test]
fn a_server_has_to_show_that_it_knows_the_keys() {
    let answered = || client().answer(b"r=CS,s=AAAA,i=4096").unwrap().0;
    let check = |last: &str, error| {
        assert_eq!(
            answered().finish(last.as_bytes()).unwrap_err(),
            error,
            "{last}"
        );
    };
    check("", ClientError::Malformed("signature"));
    check("v=!", ClientError::Malformed("signature"));
    check("v=AAAA", ClientError::FalseServer);
    check(
        &format!("v={}", STANDARD.encode([0; 32])),
        ClientError::FalseServer,
    );
    check(
        "e=invalid-proof",
        ClientError::Refused("invalid-proof".into()),
    );
    check("e=\u{1b}[2J", ClientError::Refused("\u{FFFD}[2J".into()));
}

#[test]
fn a_bound_client_says_so() {
    let binding = ChannelBinding {
        kind: "tls-exporter".to_owned(),
        data: b"x".to_vec(),
    };
    let plus = Mechanism {
        plus: true,
        ..MECHANISM
    };
    let first = |mechanism, binding| {
        let (_, first) = Client::with_nonce(mechanism, "a,b", b"", binding, "C".to_owned());
        String::from_utf8(first).unwrap()
    };
    assert_eq!(first(plus, Some(&binding)), "p=tls-exporter,,n=a=2Cb,r=C");
    assert_eq!(first(MECHANISM, Some(&binding)), "n,,n=a=2Cb,r=C");
    assert_eq!(first(MECHANISM, None), "n,,n=a=2Cb,r=C");
}
