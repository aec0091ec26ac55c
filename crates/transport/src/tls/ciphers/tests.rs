use super::*;

fn names(list: &str) -> Vec<&'static str> {
    let (suites, _) = tls12(list).unwrap();
    suites.into_iter().map(name).collect()
}

const ECDSA256: &str = "ECDHE-ECDSA-AES256-GCM-SHA384";
const ECDSA128: &str = "ECDHE-ECDSA-AES128-GCM-SHA256";
const RSA256: &str = "ECDHE-RSA-AES256-GCM-SHA384";
const RSA128: &str = "ECDHE-RSA-AES128-GCM-SHA256";
const CHACHA_ECDSA: &str = "ECDHE-ECDSA-CHACHA20-POLY1305";
const CHACHA_RSA: &str = "ECDHE-RSA-CHACHA20-POLY1305";

#[test]
fn words_choose_as_openssl_does() {
    let all = [ECDSA256, RSA256, CHACHA_ECDSA, CHACHA_RSA, ECDSA128, RSA128];
    for (list, expected) in [
        ("DEFAULT", all.as_slice()),
        ("HIGH:!aNULL:!MD5:!3DES", &all),
        ("DEFAULT:!aNULL:!eNULL:!LOW:!EXPORT:!SSLv2:@STRENGTH", &all),
        ("ALL:@SECLEVEL=0", &all),
        ("ECDHE+AESGCM", &[ECDSA256, RSA256, ECDSA128, RSA128]),
        ("EECDH+AES128", &[ECDSA128, RSA128]),
        ("aRSA", &[RSA256, CHACHA_RSA, RSA128]),
        (
            "ECDSA,CHACHA20",
            &[ECDSA256, CHACHA_ECDSA, ECDSA128, CHACHA_RSA],
        ),
        ("HIGH:!CHACHA20:!aECDSA", &[RSA256, RSA128]),
        (
            "HIGH:-CHACHA20:CHACHA20",
            &[ECDSA256, RSA256, ECDSA128, RSA128, CHACHA_ECDSA, CHACHA_RSA],
        ),
        (
            "!CHACHA20:HIGH:CHACHA20",
            &[ECDSA256, RSA256, ECDSA128, RSA128],
        ),
        (
            "AES128:AES256:@STRENGTH",
            &[ECDSA256, RSA256, ECDSA128, RSA128],
        ),
        ("AESGCM:+AES256", &[ECDSA128, RSA128, ECDSA256, RSA256]),
        ("RSA", &[]),
        (
            "ECDHE-RSA-AES128-GCM-SHA256 ECDHE-RSA-AES256-GCM-SHA384",
            &[RSA128, RSA256],
        ),
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", &[RSA128]),
        ("", &[]),
    ] {
        assert_eq!(names(list), expected, "{list}");
    }
}

#[test]
fn what_openssl_has_and_we_have_not_is_reported() {
    let (suites, unavailable) = tls12(
        "AES256-SHA:ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:!PSK-AES128-CBC-SHA:\
         TLS_RSA_WITH_AES_128_CBC_SHA",
    )
    .unwrap();
    assert_eq!(suites.len(), 1);
    assert_eq!(
        unavailable,
        [
            "AES256-SHA",
            "DHE-RSA-AES256-GCM-SHA384",
            "TLS_RSA_WITH_AES_128_CBC_SHA"
        ]
    );
}

/// `openssl ciphers ALL:COMPLEMENTOFALL` of 3.0.
#[test]
fn every_name_of_openssl_is_known() {
    let list = include_str!("openssl.txt");
    let mut known = 0;
    for name in list.trim().split(':') {
        let result = if name.starts_with("TLS_") {
            tls13(name)
        } else {
            tls12(name)
        };
        let (suites, unavailable) = result.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(suites.len() + unavailable.len(), 1, "{name}");
        known += suites.len();
    }
    assert_eq!(known, 9);
}

#[test]
fn misspelt_names_are_named() {
    for (list, name) in [
        (
            "HIGH:ECDHE-RSA-AES256-GCM-SHA348",
            "ECDHE-RSA-AES256-GCM-SHA348",
        ),
        ("HIHG", "HIHG"),
        ("HIGH:!MD55", "MD55"),
        ("ECDHE+AESGMC", "ECDHE+AESGMC"),
        ("HIGH:@STRENTH", "@STRENTH"),
        ("HIGH:-", ""),
    ] {
        let error = tls12(list).unwrap_err();
        assert_eq!(error, TlsConfigError::UnknownCipher(name.into()), "{list}");
    }
    let error = tls13("HIGH").unwrap_err();
    assert_eq!(error, TlsConfigError::UnknownCipher("HIGH".into()));
}

#[test]
fn ciphers_of_tls_1_3_keep_the_order_of_the_list() {
    let (suites, unavailable) = tls13(
        "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_CCM_SHA256:TLS_AES_128_GCM_SHA256:\
         TLS_CHACHA20_POLY1305_SHA256",
    )
    .unwrap();
    let suites: Vec<_> = suites.into_iter().map(name).collect();
    assert_eq!(
        suites,
        ["TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"]
    );
    assert_eq!(unavailable, ["TLS_AES_128_CCM_SHA256"]);
}
