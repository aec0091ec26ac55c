use crate::config::{Config, ListenerSettings};

const LEAST: &str = "listener 1884\noauth_issuer https://id.example.com\noauth_audience broker\n";

fn listener(text: &str) -> ListenerSettings {
    let config = Config::parse(text, "t").unwrap();
    config.listeners[0].settings.clone()
}

fn error(text: &str) -> String {
    let errors = Config::parse(text, "t").expect_err(text);
    let first = &errors.errors()[0];
    format!(
        "{}:{}: {} {}",
        first.file, first.line, first.message, first.hint
    )
}

#[test]
fn every_option_of_tokens_arrives() {
    let text = format!(
        "{LEAST}oauth_audience a b # c\noauth_jwks_uri https://id.example.com/keys\n\
         oauth_algorithms RS256 EdDSA\noauth_leeway 5\noauth_username_claim sub client_id\n\
         oauth_clientid_claim cid\noauth_groups_claim realm.roles\noauth_rules_claim rules\n\
         oauth_token_username jwt\noauth_introspection_uri http://127.0.0.1:1/i\n\
         oauth_introspection_client_id broker\noauth_introspection_secret_file /s\n"
    );
    let oauth = listener(&text).oauth.unwrap();
    assert_eq!(oauth.issuer.as_deref(), Some("https://id.example.com"));
    assert_eq!(oauth.audience, ["a", "b"]);
    assert_eq!(oauth.algorithms.len(), 2);
    assert_eq!(oauth.leeway_secs, 5);
    assert_eq!(oauth.username_claims, ["sub", "client_id"]);
    assert_eq!(oauth.clientid_claim.as_deref(), Some("cid"));
    assert_eq!(oauth.groups_claim.as_deref(), Some("realm.roles"));
    assert_eq!(oauth.rules_claim, "rules");
    assert_eq!(oauth.token_username.as_deref(), Some("jwt"));
    assert!(oauth.introspection_uri.is_some() && oauth.introspection_secret_file.is_some());
    let text = "listener 1884\nhttp_login_url https://a/b\nhttp_login_timeout 100\n\
                http_login_cache 0\nhttp_login_token_file /t\n";
    let http = listener(text).http_login.unwrap();
    assert_eq!((http.timeout_ms, http.cache_secs), (100, 0));
    assert!(http.token_file.is_some());
}

#[test]
fn methods_are_those_of_one_listener_with_per_listener_settings() {
    let text = format!("per_listener_settings true\n{LEAST}listener 1885\n");
    let config = Config::parse(&text, "t").unwrap();
    let has = |index: usize| config.listeners[index].settings.oauth.is_some();
    assert_eq!((has(0), has(1)), (true, false));
}

#[test]
fn options_that_lack_others_are_refused_by_file_and_line() {
    for (text, expected) in [
        ("oauth_audience x\n", "t:1: Error: Tokens need something"),
        (
            "\noauth_issuer https://a\n",
            "t:2: Error: Tokens need 'oauth_audience'",
        ),
        (
            "oauth_audience x\noauth_issuer https://a\noauth_algorithms HS256\n",
            "need 'oauth_key_file'",
        ),
        (
            "oauth_audience x\noauth_jwks_uri https://a\noauth_key_file b\n",
            "exclude each other",
        ),
        (
            "oauth_audience x\noauth_issuer https://a\noauth_introspection_client_id b\n",
            "need each other",
        ),
        (
            "http_login_cache 1\n",
            "t:1: Error: The options of the HTTP back end",
        ),
    ] {
        let found = error(text);
        assert!(found.contains(expected), "{text}: {found}");
    }
}

#[test]
fn addresses_without_tls_and_unknown_algorithms_are_refused() {
    for (text, expected) in [
        (
            "oauth_issuer http://id.example.com\n",
            "not protected by TLS",
        ),
        ("oauth_jwks_uri ftp://a\n", "no address of https or http"),
        ("http_login_url http://10.0.0.1/\n", "not protected by TLS"),
        (
            "http_login_url https://u:p@a/\n",
            "must not hold a user name",
        ),
        (
            "oauth_algorithms none\n",
            "Invalid 'oauth_algorithms' value (none)",
        ),
        ("oauth_algorithms\n", "Empty 'oauth_algorithms' value"),
        ("oauth_leeway 601\n", "Invalid 'oauth_leeway' value"),
        (
            "auth_fail_exempt 10.0.0.0/33\n",
            "neither an address nor a network",
        ),
    ] {
        let found = error(text);
        assert!(found.contains(expected), "{text}: {found}");
    }
}

#[test]
fn exempt_networks_are_those_of_the_last_line() {
    let exempt = |text: &str| {
        let config = Config::parse(text, "t").unwrap();
        let networks = config.general.auth_fail_exempt.iter();
        networks
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(exempt(""), "127.0.0.0/8 ::1");
    assert_eq!(exempt("auth_fail_exempt none\n"), "");
    assert_eq!(
        exempt("auth_fail_exempt 192.0.2.0/24 2001:db8::/32 # gateways\n"),
        "192.0.2.0/24 2001:db8::/32"
    );
}
