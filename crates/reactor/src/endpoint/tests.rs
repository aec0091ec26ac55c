use super::*;

fn check(host: Option<&str>, family: Family, expected: &[&str]) {
    let endpoint = Endpoint::Tcp {
        host: host.map(str::to_owned),
        port: 1883,
        family,
        interface: None,
    };
    let expected: Vec<BindAddress> = expected
        .iter()
        .map(|address| BindAddress::Ip(address.parse().unwrap()))
        .collect();
    assert_eq!(endpoint.addresses().unwrap(), expected);
}

#[test]
fn no_host_means_every_address_of_both_families() {
    check(None, Family::Any, &["0.0.0.0:1883", "[::]:1883"]);
    check(None, Family::V4, &["0.0.0.0:1883"]);
    check(None, Family::V6, &["[::]:1883"]);
}

#[test]
fn an_address_means_itself() {
    check(Some("127.0.0.1"), Family::Any, &["127.0.0.1:1883"]);
    check(Some("::1"), Family::Any, &["[::1]:1883"]);
}

#[test]
fn an_address_of_the_other_family_is_an_error_that_says_so() {
    let endpoint = Endpoint::Tcp {
        host: Some("127.0.0.1".to_owned()),
        port: 1883,
        family: Family::V6,
        interface: None,
    };
    let error = endpoint.addresses().unwrap_err();
    assert!(matches!(error, ListenError::NoAddress { .. }));
    assert!(
        error
            .to_string()
            .contains("'127.0.0.1' has no IPv6 address"),
        "{error}"
    );
}

#[test]
fn a_name_that_nobody_knows_is_an_error_that_names_it() {
    let error = Endpoint::tcp(Some("no such host"), 1883)
        .addresses()
        .unwrap_err();
    assert!(matches!(error, ListenError::Resolve { .. }));
    assert!(error.to_string().contains("no such host"), "{error}");
}
