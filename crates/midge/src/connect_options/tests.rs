use super::*;
use crate::options::PUB;
use std::ffi::OsString;

fn read(line: &str) -> Result<ConnectOptions, UsageError> {
    let mut connect = ConnectOptions::default();
    let args: Vec<_> = line.split_whitespace().map(OsString::from).collect();
    for option in PUB.parse(args) {
        let (id, value) = option?;
        if id == Id::Url {
            needed(connect.take_url(value)?)?;
        } else {
            assert_eq!(connect.take(id, value)?, None, "{id:?}");
        }
    }
    connect.finish()
}

#[track_caller]
fn fails(line: &str, text: &str) {
    let UsageError(found) = read(line).unwrap_err();
    assert!(found.starts_with(text), "{line}: {found}");
}

#[test]
fn only_3_1_needs_a_client_id_and_gets_a_random_one_of_its_length() {
    assert_eq!(read("").unwrap().client_id, None);
    assert_eq!(read("-V 5").unwrap().client_id, None);
    let id = read("-V 31").unwrap().client_id.unwrap();
    assert_eq!(id.len(), 22);
    assert_ne!(id, random_client_id());
}

#[test]
fn a_kept_session_never_expires_unless_told() {
    let mut options = ConnectOptions::default();
    assert_eq!(options.session_expiry_secs(), 0);
    options.clean_start = false;
    assert_eq!(options.session_expiry_secs(), u32::MAX);
    options.session_expiry_secs = Some(5);
    assert_eq!(options.session_expiry_secs(), 5);
}

#[test]
fn what_only_5_0_has_implies_it() {
    assert_eq!(read("-x 7").unwrap().version, Version::V5);
    assert_eq!(
        read("-D connect receive-maximum 7").unwrap().version,
        Version::V5
    );
    assert_eq!(read("-x 7 -V 311").unwrap().version, Version::V3_1_1);
}

#[test]
fn a_will_needs_its_topic() {
    let will = read("--will-topic w --will-payload x --will-qos 2 --will-retain")
        .unwrap()
        .will;
    assert_eq!(will.topic.as_deref(), Some("w"));
    assert_eq!(will.payload.as_deref(), Some(&b"x"[..]));
    assert_eq!((will.qos, will.retain), (QoS::ExactlyOnce, true));
    fails(
        "--will-payload x",
        "Will payload given, but no will topic given.",
    );
    fails(
        "--will-retain",
        "Will retain given, but no will topic given.",
    );
    fails(
        "--will-topic w/#",
        "Invalid will topic 'w/#', does it contain '+' or '#'?",
    );
    fails("--will-topic w --will-qos 3", "Invalid will QoS 3.");
}

#[test]
fn sessions_that_are_kept_need_a_name() {
    let infinite =
        "You must provide a client id if you are using an infinite session expiry interval.";
    fails("-c -V 5", infinite);
    fails("-x -1", infinite);
    fails(
        "-c",
        "You must provide a client id if you are using the -c option.",
    );
    assert!(read("-c -i a").is_ok());
    assert!(read("-c -V 5 -x 5").is_ok());
    fails("-x -2", "session-expiry-interval out of range.");
    fails(
        "-x 1 -D connect session-expiry-interval 2",
        "The session expiry",
    );
}

#[test]
fn a_port_follows_from_what_is_spoken() {
    assert_eq!(read("").unwrap().port(), 1883);
    assert_eq!(read("--cafile f").unwrap().port(), 8883);
    assert_eq!(read("--cafile f -p 7").unwrap().port(), 7);
    assert!(!read("").unwrap().uses_tls());
    assert!(read("--cafile f").unwrap().uses_tls());
    assert!(read("-p 8883").unwrap().uses_tls());
    assert!(read("--tls-use-os-certs").unwrap().uses_tls());
    assert!(!read("-p 8883 --no-tls").unwrap().uses_tls());
    assert!(!read("--cafile f --unix /s").unwrap().uses_tls());
}

#[test]
fn urls_say_all_of_it() {
    let options = read("-L mqtts://ann:pa%40ss@broker.example:99/a/b").unwrap();
    assert_eq!(
        (options.host.as_str(), options.port()),
        ("broker.example", 99)
    );
    assert_eq!(options.user_name.as_deref(), Some("ann"));
    assert_eq!(options.password.as_deref(), Some(&b"pa%40ss"[..]));
    assert!(options.uses_tls() && !options.websocket);
    let options = read("-L wss://[::1]/t").unwrap();
    assert_eq!((options.host.as_str(), options.port()), ("::1", 8883));
    assert!(options.uses_tls() && options.websocket);
    assert_eq!(read("-L ws://h/t").unwrap().port(), 1883);
    fails("-L http://h/t", "Unsupported URL scheme.");
    fails(
        "-L mqtt://h",
        "Invalid URL for -L argument specified - topic missing.",
    );
    fails("-L mqtt://h:x/t", "Invalid port given: x");
}

#[test]
fn what_tls_here_does_not_have_is_refused() {
    fails("--psk 00 --psk-identity a", "TLS with a shared key");
    fails("--tls-engine pkcs11", "--tls-engine");
    fails("--keyform engine", "Problem setting key form");
    fails(
        "--cert c",
        "Both certfile and keyfile must be provided if one of them is set.",
    );
    fails("--tls-version tlsv1.1", "Problem setting TLS options");
}

#[test]
fn proxies_are_known_by_their_scheme() {
    assert!(read("--proxy socks5h://u:p@h:1080").is_ok());
    assert!(read("--proxy http://h:8080").is_ok());
    fails("--proxy ftp://h", "Unsupported proxy protocol: ftp://h");
}
