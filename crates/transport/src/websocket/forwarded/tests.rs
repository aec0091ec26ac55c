use super::*;
use crate::websocket::Subprotocol;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn check(header: ForwardedHeader, list: &str, peer: &str, expected: &str) {
    let request = Request {
        path: "/".into(),
        host: "h".into(),
        origin: None,
        authorization: None,
        user_agent: None,
        x_forwarded_for: (header == ForwardedHeader::XForwardedFor).then(|| list.into()),
        forwarded: (header == ForwardedHeader::Forwarded).then(|| list.into()),
        subprotocol: Subprotocol::Mqtt,
        accept: String::new(),
    };
    let trusted = |address: IpAddr| address.to_string().starts_with("10.");
    let client = request.client_address(header, ip(peer), trusted);
    assert_eq!(client, ip(expected), "{list}");
}

#[test]
fn the_client_is_the_first_from_the_right_that_is_not_trusted() {
    for (list, peer, expected) in [
        ("203.0.113.7", "10.0.0.1", "203.0.113.7"),
        ("1.2.3.4, 203.0.113.7, 10.0.0.2", "10.0.0.1", "203.0.113.7"),
        ("10.9.9.9, 10.0.0.2", "10.0.0.1", "10.9.9.9"),
        ("203.0.113.7:4711", "10.0.0.1", "203.0.113.7"),
        ("2001:db8::1", "10.0.0.1", "2001:db8::1"),
        ("[2001:db8::1]", "10.0.0.1", "2001:db8::1"),
        ("[2001:db8::1]:99", "10.0.0.1", "2001:db8::1"),
        ("::ffff:203.0.113.7", "::ffff:10.0.0.1", "203.0.113.7"),
    ] {
        check(ForwardedHeader::XForwardedFor, list, peer, expected);
    }
}

#[test]
fn nobody_is_believed_who_is_not_trusted() {
    check(
        ForwardedHeader::XForwardedFor,
        "9.9.9.9",
        "198.51.100.1",
        "198.51.100.1",
    );
    check(
        ForwardedHeader::Forwarded,
        "for=9.9.9.9",
        "198.51.100.1",
        "198.51.100.1",
    );
}

#[test]
fn what_is_no_address_ends_the_search() {
    for list in [
        "",
        "unknown",
        "9.9.9.9, unknown",
        "9.9.9.9,",
        "9.9.9.9, 1.2.3",
    ] {
        check(ForwardedHeader::XForwardedFor, list, "10.0.0.1", "10.0.0.1");
    }
    for list in [
        "",
        "for=_hidden",
        "by=9.9.9.9",
        "for",
        "for=9.9.9.9, proto=https",
    ] {
        check(ForwardedHeader::Forwarded, list, "10.0.0.1", "10.0.0.1");
    }
}

#[test]
fn forwarded_has_parameters_and_quotes() {
    for (list, expected) in [
        ("for=203.0.113.7", "203.0.113.7"),
        ("proto=https; For=203.0.113.7;by=10.0.0.1", "203.0.113.7"),
        ("for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
        ("for=1.1.1.1, for=203.0.113.7, for=10.0.0.2", "203.0.113.7"),
    ] {
        check(ForwardedHeader::Forwarded, list, "10.0.0.1", expected);
    }
}

#[test]
fn a_quote_that_a_client_opens_hides_nothing() {
    check(
        ForwardedHeader::Forwarded,
        "for=\"9.9.9.9, for=203.0.113.7",
        "10.0.0.1",
        "203.0.113.7",
    );
}
