use midge_transport::tls::PSK_IS_BUILT_IN;

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

#[test]
fn pre_shared_keys_need_their_file_and_exclude_certificates() {
    if !PSK_IS_BUILT_IN {
        check(
            "psk_hint h\npsk_file /k",
            Some("this build of Midge does not have"),
        );
        return;
    }
    check("psk_hint h\npsk_file /k", None);
    check(
        "psk_hint h\npsk_file /k\nuse_identity_as_username true",
        None,
    );
    check("psk_hint h", Some("without 'psk_file'"));
    let both = "psk_hint h\npsk_file /k\n";
    check(
        &format!("{both}certfile c\nkeyfile k"),
        Some("with a certificate"),
    );
    check(
        &format!("{both}require_certificate true"),
        Some("'require_certificate'"),
    );
    check(
        &format!("{both}use_subject_as_username true"),
        Some("user name"),
    );
}

#[test]
fn keys_without_a_hint_do_nothing_and_a_general_file_is_for_those_with_one() {
    let text = "per_listener_settings true\nlistener 8883\npsk_file /k\n";
    let (_, notes) = Config::parse(text, "t.conf")
        .map(|config| ((), config.notes))
        .unwrap();
    let told = |words: &str| notes.iter().any(|note| note.text.contains(words));
    assert!(
        told("'psk_file' has no effect without 'psk_hint'"),
        "{notes:?}"
    );
    let text = "psk_file /k\nlistener 8883\n";
    let config = Config::parse(text, "t.conf").unwrap();
    assert!(config.listeners[0].settings.psk_file.is_some());
}
