use super::*;

fn network(text: &str) -> Network {
    text.parse().unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn networks_contain_what_begins_with_their_bits() {
    let check = |text: &str, inside: &[&str], outside: &[&str]| {
        let network = network(text);
        for text in inside {
            assert!(network.contains(address(text)), "{network} {text}");
        }
        for text in outside {
            assert!(!network.contains(address(text)), "{network} {text}");
        }
    };
    check(
        "192.0.2.7",
        &["192.0.2.7", "::ffff:192.0.2.7"],
        &["192.0.2.6", "::1"],
    );
    check(
        "192.0.2.7/24",
        &["192.0.2.0", "192.0.2.255"],
        &["192.0.3.0"],
    );
    check("0.0.0.0/0", &["255.255.255.255"], &["::2"]);
    check("::/0", &["::2", "ffff::"], &["192.0.2.1"]);
    check("2001:db8::/32", &["2001:db8:1::1"], &["2001:db9::"]);
    check("2001:db8::1", &["2001:db8::1"], &["2001:db8::2"]);
    check("::ffff:10.0.0.0/8", &["10.1.2.3"], &["11.0.0.0"]);
}

#[test]
fn networks_are_shown_as_they_are_written() {
    for text in [
        "192.0.2.7",
        "10.0.0.0/8",
        "2001:db8::/32",
        "::1",
        "0.0.0.0/0",
    ] {
        assert_eq!(network(text).to_string(), text);
    }
    assert_eq!(network("10.1.2.3/8").to_string(), "10.0.0.0/8");
}

#[test]
fn what_is_no_network_says_so() {
    for text in [
        "",
        "host",
        "10.0.0.0/33",
        "::/129",
        "10.0.0.0/",
        "10.0.0/8",
        "10.0.0.0/-1",
        "1/8",
    ] {
        let error = text.parse::<Network>().unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("'{text}' is neither")),
            "{error}"
        );
    }
}

#[test]
fn of_an_ipv6_address_64_bits_count() {
    let prefix = |text: &str| Prefix::of(address(text));
    assert_eq!(prefix("2001:db8:0:1::1"), prefix("2001:db8:0:1:ffff::"));
    assert_ne!(prefix("2001:db8:0:1::1"), prefix("2001:db8:0:2::1"));
    assert_eq!(prefix("::ffff:192.0.2.1"), prefix("192.0.2.1"));
    assert_ne!(prefix("192.0.2.2"), prefix("192.0.2.1"));
    assert_eq!(
        prefix("2001:db8:0:1::1").network(),
        network("2001:db8:0:1::/64")
    );
    assert_eq!(prefix("192.0.2.1").network(), network("192.0.2.1"));
}
