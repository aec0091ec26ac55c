use super::*;
use crate::net::Scheme;

fn server(url: &str) -> (Scheme, String, u16, String) {
    let server = Options::new(url).unwrap().servers.remove(0);
    (server.scheme, server.host, server.port, server.path)
}

#[test]
fn urls_name_the_broker() {
    let check = |url: &str, scheme, host: &str, port, path: &str| {
        assert_eq!(
            server(url),
            (scheme, host.to_owned(), port, path.to_owned()),
            "{url}"
        );
    };
    check("mqtt://host", Scheme::Mqtt, "host", 1883, "/mqtt");
    check("MQTT://host:1884/", Scheme::Mqtt, "host", 1884, "/");
    check("tcp://10.0.0.1:1", Scheme::Mqtt, "10.0.0.1", 1, "/mqtt");
    check("mqtts://host", Scheme::Mqtts, "host", 8883, "/mqtt");
    check("ws://host", Scheme::Ws, "host", 80, "/mqtt");
    check("wss://host/a/b", Scheme::Wss, "host", 443, "/a/b");
    check("mqtt://[::1]", Scheme::Mqtt, "::1", 1883, "/mqtt");
    check("mqtt://[fe80::1]:7", Scheme::Mqtt, "fe80::1", 7, "/mqtt");
    check(
        "unix:///run/m%20q.sock",
        Scheme::Unix,
        "",
        0,
        "/run/m q.sock",
    );
}

#[test]
fn urls_name_user_and_parameters() {
    let options = Options::new(
        "mqtt://a%40b:p%3aw%ff@host?client_id=c%261&version=3.1.1&keep_alive=7&clean_start=false\
         &session_expiry=9",
    )
    .unwrap();
    assert_eq!(options.credentials.user_name.as_deref(), Some("a@b"));
    assert_eq!(
        options.credentials.password.as_deref(),
        Some(&b"p:w\xFF"[..])
    );
    assert_eq!(options.client_id.as_deref(), Some("c&1"));
    assert_eq!(options.version, Version::V3_1_1);
    assert_eq!(options.keep_alive_secs, 7);
    assert_eq!(options.session_expiry_secs, Some(9));
    assert!(!options.clean_start);
}

#[test]
fn faults_in_urls_are_told_without_the_password() {
    let check = |url: &str, text: &str| {
        let error = Options::new(url).unwrap_err().to_string();
        assert!(error.contains(text), "{url}: {error}");
        assert!(!error.contains("secret"), "{error}");
    };
    check("host", "mqtt://host");
    check("http://u:secret@host", "scheme \"http\"");
    check("mqtt://u:secret@", "no host");
    check("mqtt://u:secret@host:0", "port \"0\"");
    check("mqtt://host:70000", "port");
    check("mqtt://::1", "brackets");
    check("mqtt://[::1", "bracket");
    check("mqtt://host/topic", "path");
    check("mqtt://ho st", "space");
    check("mqtt://%zz", "hexadecimal");
    check("mqtt://%ff", "UTF-8");
    check("mqtt://a%0d%0ab", "no host name has");
    check("mqtt://host?qos=1", "\"qos\" is unknown");
    check("mqtt://host?keep_alive=70000", "keep_alive");
    check("mqtt://host?version=6", "5, 3.1.1 or 3.1");
    check("mqtt://host?clean_start", "no value");
    check("unix://run/x", "three slashes");
}

#[cfg(feature = "tls")]
#[test]
fn urls_name_what_tls_needs() {
    let check = |parameters: &str, text: &str| {
        let options = Options::new(&format!("mqtts://host?{parameters}")).unwrap();
        let error = options
            .dialer
            .tls
            .ready()
            .err()
            .map(|error| error.to_string());
        assert!(
            error.as_ref().is_some_and(|error| error.contains(text)),
            "{error:?}"
        );
    };
    check("ca_file=%2fno%2fsuch.pem", "/no/such.pem");
    check("ca_directory=/nowhere", "/nowhere");
    check(
        "danger_accept_any_certificate=true&certificate_file=/c.pem",
        "/c.pem",
    );
    check(
        "danger_accept_any_certificate=true&key_file=/k.pem",
        "without a certificate",
    );
    let options = Options::new("mqtts://host?danger_accept_any_certificate=true&alpn=mqtt,x");
    assert!(options.unwrap().dialer.tls.ready().is_ok());
    let error = Options::new("mqtts://host?danger_accept_any_certificate=yes").unwrap_err();
    assert!(error.to_string().contains("true or false"), "{error}");
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let base = || Options::new("mqtt://host").unwrap();
    let check = |options: Options, text: &str| {
        let error = options.check().unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    check(
        base().version(Version::V3_1_1).clean_start(false),
        "client id",
    );
    check(base().will(Will::new("a/#", "")), "wildcard");
    check(base().will(Will::new("a", vec![0; 70_000])), "65,535");
    check(base().client_id("x\0"), "zero byte");
    check(base().response_topic("+"), "wildcard");
    assert!(base().check().is_ok());
}

#[test]
fn a_password_is_never_shown() {
    let options = Options::new("mqtt://name:secret@host")
        .unwrap()
        .proxy("socks5://u:secret@proxy")
        .unwrap();
    assert!(!format!("{options:?}").contains("secret"));
    assert!(format!("{options:?}").contains("name"));
}

#[test]
fn proxies_have_their_ports() {
    let proxy = |url: &str| {
        let proxy = Options::new("mqtt://h")
            .unwrap()
            .proxy(url)
            .unwrap()
            .dialer
            .proxy;
        let proxy = proxy.unwrap();
        (proxy.host, proxy.port)
    };
    assert_eq!(proxy("socks5://p"), ("p".to_owned(), 1080));
    assert_eq!(proxy("http://p:3128"), ("p".to_owned(), 3128));
    assert!(Options::new("mqtt://h").unwrap().proxy("ftp://p").is_err());
}
