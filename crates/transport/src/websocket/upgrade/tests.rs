use super::*;
use crate::websocket::Subprotocol;

const GOOD: [(&str, &str); 6] = [
    ("Host", "broker:8080"),
    ("Upgrade", "websocket"),
    ("Connection", "keep-alive, Upgrade"),
    // The example of RFC 6455, section 1.3.
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Protocol", "mqtt"),
];

fn text(line: &str, headers: &[(&str, &str)]) -> String {
    let mut text = format!("{line}\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text + "\r\n"
}

/// The good request without `name`, and with `more`.
fn changed(name: &str, more: &[(&str, &str)]) -> String {
    let kept = GOOD.iter().filter(|header| header.0 != name);
    let headers: Vec<_> = kept.chain(more).copied().collect();
    text("GET /mqtt HTTP/1.1", &headers)
}

fn judge(text: &str, options: &UpgradeOptions) -> Result<Request, Refused> {
    let accepted = Upgrade::new(Arc::new(options.clone())).receive(text.as_bytes())?;
    let accepted = accepted.expect("the request is whole");
    assert_eq!(accepted.consumed, text.len());
    Ok(accepted.request)
}

fn refused(text: &str) -> Refused {
    judge(text, &UpgradeOptions::default()).unwrap_err()
}

#[test]
fn a_browser_is_let_in_and_answered() {
    let request = changed("", &[("Origin", "https://page.example")]);
    for cut in 0..request.len() {
        let (first, second) = request.as_bytes().split_at(cut);
        let mut upgrade = Upgrade::new(Arc::default());
        assert_eq!(upgrade.receive(first), Ok(None));
        let mut second = second.to_vec();
        second.extend_from_slice(b"frames");
        let accepted = upgrade.receive(&second).unwrap().unwrap();
        assert_eq!(&second[accepted.consumed..], b"frames");
        let mut wire = Vec::new();
        accepted.answer(&mut wire);
        assert_eq!(
            String::from_utf8(wire).unwrap(),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
             Sec-WebSocket-Protocol: mqtt\r\n\r\n"
        );
    }
}

#[test]
fn what_the_broker_wants_to_know_is_handed_out() {
    let request = changed(
        "",
        &[
            ("Authorization", "Bearer secret"),
            ("X-Forwarded-For", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("Forwarded", "for=3.3.3.3"),
            ("User-Agent", "test"),
            ("Origin", "https://page.example"),
        ],
    );
    let request = judge(&request, &UpgradeOptions::default()).unwrap();
    assert_eq!(&*request.path, "/mqtt");
    assert_eq!(&*request.host, "broker:8080");
    assert_eq!(request.authorization.as_deref(), Some("Bearer secret"));
    assert_eq!(request.x_forwarded_for.as_deref(), Some("1.1.1.1, 2.2.2.2"));
    assert_eq!(request.forwarded.as_deref(), Some("for=3.3.3.3"));
    assert_eq!(request.user_agent.as_deref(), Some("test"));
    assert_eq!(request.origin.as_deref(), Some("https://page.example"));
    assert!(!format!("{request:?}").contains("secret"));
}

#[test]
fn mqtt5_6_0_0_3_the_clients_first_subprotocol_that_there_is_is_taken() {
    for (offered, expected) in [
        ("mqtt", Subprotocol::Mqtt),
        ("mqttv3.1", Subprotocol::Mqttv31),
        ("mqttv3.1, mqtt", Subprotocol::Mqttv31),
        ("chat,mqtt,mqttv3.1", Subprotocol::Mqtt),
    ] {
        let text = changed(
            "Sec-WebSocket-Protocol",
            &[("Sec-WebSocket-Protocol", offered)],
        );
        let request = judge(&text, &UpgradeOptions::default()).unwrap();
        assert_eq!(request.subprotocol, expected, "{offered}");
    }
    let separate = changed("", &[("Sec-WebSocket-Protocol", "mqttv3.1")]);
    let request = judge(&separate, &UpgradeOptions::default()).unwrap();
    assert_eq!(request.subprotocol, Subprotocol::Mqtt);
    for offered in ["", "MQTT", "mqtt5", "mqtt mqttv3.1"] {
        let text = changed(
            "Sec-WebSocket-Protocol",
            &[("Sec-WebSocket-Protocol", offered)],
        );
        assert_eq!(refused(&text), Refused::Subprotocol, "{offered}");
    }
    assert_eq!(
        refused(&changed("Sec-WebSocket-Protocol", &[])),
        Refused::Subprotocol
    );
}

#[test]
fn what_is_no_upgrade_gets_the_right_status() {
    let key = |value| changed("Sec-WebSocket-Key", &[("Sec-WebSocket-Key", value)]);
    let mut many = vec![("X", "y"); 101];
    many.extend(GOOD);
    let cases: Vec<(String, u16)> = vec![
        (text("POST /mqtt HTTP/1.1", &GOOD), 405),
        (text("GET /mqtt HTTP/1.0", &GOOD), 505),
        (text("GET /mqtt HTTP/3.0", &GOOD), 505),
        (text("PRI * HTTP/2.0", &[]), 505),
        (text("GET /mqtt", &GOOD), 400),
        (text("GET / HTTP/1.1", &[("Host", "x")]), 426),
        (changed("Upgrade", &[("Upgrade", "h2c")]), 426),
        (changed("Connection", &[]), 400),
        (changed("Sec-WebSocket-Version", &[]), 426),
        (
            changed("Sec-WebSocket-Version", &[("Sec-WebSocket-Version", "8")]),
            426,
        ),
        (changed("Host", &[]), 400),
        (changed("Sec-WebSocket-Key", &[]), 400),
        (key(""), 400),
        (key("c2hvcnQ="), 400),
        (key("dGhlIHNhbXBsZSBub25jZQ"), 400),
        (key("dGhlIHNhbXBsZSBub25jZSBhbmQgbW9yZQ=="), 400),
        (
            changed("", &[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]),
            400,
        ),
        (changed("", &[("Content-Length", "5")]), 400),
        (changed("", &[("Transfer-Encoding", "chunked")]), 400),
        (changed("", &[("Bad Name", "x")]), 400),
        (changed("", &[("X", "a\0b")]), 400),
        (
            changed("", &[("Authorization", "a"), ("Authorization", "b")]),
            400,
        ),
        (text("GET /mqtt HTTP/1.1", &many), 431),
    ];
    for (text, status) in cases {
        let refused = refused(&text);
        assert_eq!(refused.status(), Some(status), "{text}: {refused}");
        let mut answer = Vec::new();
        refused.answer(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        assert!(head.contains("close"));
        assert_eq!(head.contains("Sec-WebSocket-Version: 13"), status == 426);
        assert_eq!(head.contains("Allow: GET"), status == 405);
    }
}

#[test]
fn origins_that_are_not_listed_are_refused_and_who_has_none_passes() {
    let origins = vec![
        "https://a.example".to_owned(),
        "http://b.example:81/".to_owned(),
    ];
    let options = UpgradeOptions {
        origins,
        ..UpgradeOptions::default()
    };
    let from = |origin| judge(&changed("", &[("Origin", origin)]), &options);
    assert!(from("https://a.example").is_ok());
    assert!(from("HTTPS://A.example").is_ok());
    assert!(from("http://b.example:81").is_ok());
    assert!(judge(&changed("", &[]), &options).is_ok());
    for origin in [
        "http://a.example",
        "https://a.example.evil",
        "null",
        "http://b.example",
    ] {
        let refused = from(origin).unwrap_err();
        assert_eq!(refused, Refused::Origin(origin.into()));
        assert_eq!(refused.status(), Some(403));
    }
}

#[test]
fn another_path_is_not_found() {
    let options = UpgradeOptions {
        path: Some("/mqtt".to_owned()),
        ..UpgradeOptions::default()
    };
    assert!(judge(&text("GET /mqtt HTTP/1.1", &GOOD), &options).is_ok());
    let query = judge(&text("GET /mqtt?token=1 HTTP/1.1", &GOOD), &options);
    assert_eq!(&*query.unwrap().path, "/mqtt?token=1");
    let other = judge(&text("GET /mqtt/ HTTP/1.1", &GOOD), &options).unwrap_err();
    assert_eq!(other.status(), Some(404));
}

#[test]
fn a_request_that_does_not_end_is_refused_at_its_bound() {
    let options = UpgradeOptions {
        head_bytes_max: 256,
        ..UpgradeOptions::default()
    };
    let mut upgrade = Upgrade::new(Arc::new(options));
    let mut taken = upgrade.receive(b"GET / HTTP/1.1\r\nX: ");
    let mut sent = 19;
    while taken == Ok(None) {
        taken = upgrade.receive(b"x");
        sent += 1;
    }
    assert_eq!((taken, sent), (Err(Refused::TooLong), 256));
}

#[test]
fn what_is_not_http_is_named_and_not_answered() {
    for (bytes, looks) in [
        (b"\x16\x03\x01\x02\x00".as_slice(), Looks::Tls),
        (b"\x10\x12\x00\x04MQTT", Looks::Mqtt),
        (b"\r\n\r\n\0\r\nQUIT\n", Looks::Proxy),
        (b"\0", Looks::Unknown),
    ] {
        let refused = Upgrade::new(Arc::default()).receive(bytes);
        let refused = refused.unwrap_err();
        assert_eq!(refused, Refused::NotHttp(looks));
        let mut answer = Vec::new();
        refused.answer(&mut answer);
        assert!(answer.is_empty());
    }
}

#[test]
fn a_path_cannot_forge_a_log_line() {
    let options = UpgradeOptions {
        path: Some("/mqtt".to_owned()),
        ..UpgradeOptions::default()
    };
    let request = text("GET /a\u{85}b HTTP/1.1", &GOOD);
    let refused = Upgrade::new(Arc::new(options)).receive(request.as_bytes());
    assert!(!refused.unwrap_err().to_string().contains('\u{85}'));
}
