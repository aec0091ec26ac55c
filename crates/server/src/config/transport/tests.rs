use super::super::Config;

#[track_caller]
fn check(options: &str, message: Option<&str>) {
    let text = format!("listener 8883\n{options}");
    match (Config::parse(&text, "t.conf"), message) {
        (Ok(_), None) => {}
        (Err(errors), Some(message)) => {
            let error = &errors.errors()[0];
            assert_eq!(error.line, 1);
            assert!(error.message.contains(message), "{}", error.message);
            assert!(!error.hint.is_empty());
        }
        (parsed, wanted) => panic!("{options}: {parsed:?}, not {wanted:?}"),
    }
}

#[test]
fn a_listener_is_never_less_closed_than_its_options_say() {
    let tls = "certfile c\nkeyfile k\n";
    check(tls, None);
    check("certfile c", Some("without 'keyfile'"));
    check("keyfile k", Some("without 'certfile'"));
    check("require_certificate true", Some("without TLS"));
    check("use_identity_as_username true", Some("without TLS"));
    check("use_san_as_username uri", Some("without TLS"));
    check(
        &format!("{tls}require_certificate true"),
        Some("without 'cafile'"),
    );
    check(&format!("{tls}cafile a\nrequire_certificate true"), None);
    check(
        &format!("{tls}capath a\nuse_subject_as_username true"),
        None,
    );
    check(
        "enable_proxy_protocol 2\nuse_identity_as_username true",
        None,
    );
    check("enable_proxy_protocol 2\nrequire_certificate true", None);
    check(
        "enable_proxy_protocol 1\nrequire_certificate true",
        Some("without TLS"),
    );
    check(
        "enable_proxy_protocol 2\nuse_subject_as_username true",
        Some("without TLS"),
    );
    check(
        "enable_proxy_protocol 1\nproxy_protocol_v2_require_tls true",
        Some("enable_proxy_protocol 2"),
    );
    check(
        "protocol websockets\nwebsockets_trusted_proxy 127.0.0.1",
        Some("need each other"),
    );
}

#[test]
fn what_does_nothing_is_told() {
    let text = "listener 1883\ncafile a\nwebsockets_origin https://example.org\n";
    let config = Config::parse(text, "t.conf").unwrap();
    let notes: Vec<_> = config.notes.iter().map(|note| note.text.as_str()).collect();
    assert_eq!(
        notes,
        [
            "Warning: 'cafile' has no effect without 'certfile' and 'keyfile'. (t.conf:1)",
            "Warning: 'websockets_origin' has no effect without 'protocol websockets'. (t.conf:1)",
        ]
    );
}

#[test]
fn a_path_begins_with_a_slash() {
    for path in ["/mqtt", "mqtt"] {
        let text = format!("listener 1\nprotocol websockets\nwebsockets_path {path}\n");
        let config = Config::parse(&text, "t.conf").unwrap();
        let path = config.listeners[0].settings.websockets_path.as_deref();
        assert_eq!(path, Some("/mqtt"));
    }
}
