use serde_json::{Value, json};

use super::*;

const ISSUER: &str = "https://id.example.com/realms/garden";

fn document() -> Value {
    json!({
        "issuer": ISSUER,
        "jwks_uri": "https://id.example.com/keys",
        "token_endpoint": "https://id.example.com/token",
        "introspection_endpoint": null,
        "scopes_supported": ["openid"],
    })
}

fn check(change: (&str, Value), expected: Result<(), DiscoveryFault>) {
    let mut document = document();
    document[change.0] = change.1;
    let found = Document::parse(document.to_string().as_bytes(), ISSUER);
    assert_eq!(found.map(|_| ()), expected);
}

#[test]
fn a_document_tells_where_the_endpoints_are() {
    let found = Document::parse(document().to_string().as_bytes(), ISSUER).unwrap();
    assert_eq!(found.jwks_uri, "https://id.example.com/keys");
    assert_eq!(
        found.token_endpoint.unwrap(),
        "https://id.example.com/token"
    );
    assert_eq!(found.introspection_endpoint, None);
}

#[test]
fn the_document_is_behind_the_path_of_the_issuer() {
    let expected = "https://a.example/b/.well-known/openid-configuration";
    assert_eq!(Document::url("https://a.example/b"), expected);
    assert_eq!(Document::url("https://a.example/b/"), expected);
}

#[test]
fn a_document_of_another_issuer_is_refused_even_if_only_a_slash_differs() {
    for other in ["https://evil.example", &format!("{ISSUER}/")] {
        check(
            ("issuer", other.into()),
            Err(DiscoveryFault::Issuer {
                expected: ISSUER.into(),
                found: other.into(),
            }),
        );
    }
    check(
        ("issuer", Value::Null),
        Err(DiscoveryFault::Member("issuer")),
    );
    check(("issuer", 1.into()), Err(DiscoveryFault::Member("issuer")));
}

#[test]
fn endpoints_are_as_safe_as_the_issuer() {
    for url in [
        "http://id.example.com/keys",
        "file:///etc/passwd",
        "https://a b",
        "",
    ] {
        check(
            ("jwks_uri", url.into()),
            Err(DiscoveryFault::Endpoint {
                name: "jwks_uri",
                url: url.into(),
            }),
        );
    }
    check(
        ("jwks_uri", Value::Null),
        Err(DiscoveryFault::Member("jwks_uri")),
    );
    check(
        ("jwks_uri", "x".repeat(3000).into()),
        Err(DiscoveryFault::Member("jwks_uri")),
    );
    let plain = br#"{"issuer":"http://127.0.0.1:9","jwks_uri":"http://127.0.0.1:9/keys"}"#;
    assert!(Document::parse(plain, "http://127.0.0.1:9").is_ok());
}

#[test]
fn what_is_no_document_is_refused() {
    for text in ["", "[]", "<html>", "{\"issuer\":\"a\",\"issuer\":\"b\"}"] {
        let fault = Document::parse(text.as_bytes(), ISSUER).unwrap_err();
        assert!(matches!(fault, DiscoveryFault::Json(_)), "{text}: {fault}");
    }
}
