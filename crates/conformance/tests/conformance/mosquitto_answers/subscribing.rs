//! Faults of SUBSCRIBE and UNSUBSCRIBE.

use super::*;

fn subscribe(version: Version) -> Subscribe {
    Subscribe::new(version, 1)
}

fn unsubscribe(version: Version) -> Unsubscribe {
    Unsubscribe::new(version, 1)
}

#[test]
fn subscribe_faults() {
    let broker = Broker::shared();
    let filter = |version: Version, filter: &str| subscribe(version).filter(filter, 0).encode();
    let with = |property: prop::Property| {
        subscribe(Version::V5)
            .filter("t", 0)
            .with(property)
            .encode()
    };
    check_connected(
        &broker,
        &[
            (
                "flags",
                &Version::ALL,
                &|v| subscribe(v).filter("t", 0).first_byte(0x80).encode(),
                MALFORMED,
            ),
            (
                "flags with DUP",
                &Version::ALL,
                &|v| subscribe(v).filter("t", 0).first_byte(0x8A).encode(),
                MALFORMED,
            ),
            ("empty", &Version::ALL, &|_| vec![0x82, 0], MALFORMED),
            (
                "packet id 0",
                &Version::ALL,
                &|v| Subscribe::new(v, 0).filter("t", 0).encode(),
                MALFORMED,
            ),
            (
                "property unknown",
                &V5,
                &|_| with(prop::raw(0x7E, [0])),
                MALFORMED,
            ),
            (
                "property of another packet",
                &V5,
                &|_| with(prop::message_expiry(1)),
                MALFORMED,
            ),
            (
                "property twice",
                &V5,
                &|v| {
                    let twice = subscribe(v).filter("t", 0).with(prop::subscription_id(1));
                    twice.with(prop::subscription_id(1)).encode()
                },
                PROTOCOL,
            ),
            (
                "property not UTF-8",
                &V5,
                &|_| with(prop::user(b"\xFF", "")),
                Close,
            ),
            (
                "subscription identifier 0",
                &V5,
                &|_| with(prop::subscription_id(0)),
                PROTOCOL,
            ),
            (
                "filter cut short",
                &ONLY_V3_1_1,
                &|_| vec![0x82, 5, 0, 1, 0, 9, b't'],
                Close,
            ),
            (
                "filter cut short in 5.0",
                &V5,
                &|_| vec![0x82, 6, 0, 1, 0, 0, 9, b't'],
                MALFORMED,
            ),
            (
                "options missing",
                &V5,
                &|_| vec![0x82, 6, 0, 1, 0, 0, 1, b't'],
                MALFORMED,
            ),
            ("filter empty", &Version::ALL, &|v| filter(v, ""), MALFORMED),
            (
                "filter not UTF-8",
                &Version::ALL,
                &|v| subscribe(v).filter(b"\xFF", 0).encode(),
                MALFORMED,
            ),
            (
                "filter with a misplaced wildcard",
                &Version::ALL,
                &|v| filter(v, "a#"),
                MALFORMED,
            ),
            (
                "filter of 201 slashes",
                &Version::ALL,
                &|v| filter(v, &"/".repeat(201)),
                MALFORMED,
            ),
            (
                "QoS 3",
                &V5,
                &|v| subscribe(v).filter("t", 3).encode(),
                MALFORMED,
            ),
            (
                "option bit 6",
                &V5,
                &|v| subscribe(v).filter("t", 0x40).encode(),
                MALFORMED,
            ),
            (
                "option bit 7",
                &V5,
                &|v| subscribe(v).filter("t", 0x80).encode(),
                MALFORMED,
            ),
            (
                "retain handling 3",
                &V5,
                &|v| subscribe(v).filter("t", 0x30).encode(),
                MALFORMED,
            ),
            (
                "QoS byte of 3",
                &V3,
                &|v| subscribe(v).filter("t", 3).encode(),
                Close,
            ),
            (
                "no local on a shared subscription",
                &V5,
                &|v| subscribe(v).filter("$share/g/t", 4).encode(),
                PROTOCOL,
            ),
            ("$share", &Version::ALL, &|v| filter(v, "$share"), PROTOCOL),
            (
                "$share/g",
                &Version::ALL,
                &|v| filter(v, "$share/g"),
                PROTOCOL,
            ),
            (
                "$share/g/",
                &Version::ALL,
                &|v| filter(v, "$share/g/"),
                PROTOCOL,
            ),
            (
                "share name with a wildcard",
                &Version::ALL,
                &|v| filter(v, "$share/+/t"),
                PROTOCOL,
            ),
            (
                "share name empty: refused by the standard",
                &Version::ALL,
                &|v| filter(v, "$share//t"),
                PROTOCOL,
            ),
            (
                "no filter",
                &Version::OASIS,
                &|v| subscribe(v).encode(),
                Disconnect(&[0x81, 0x82]),
            ),
            (
                "no filter in 3.1",
                &ONLY_V3_1,
                &|v| subscribe(v).encode(),
                GoOn(vec![vec![0x90, 2, 0, 1]]),
            ),
        ],
    );
}

#[test]
fn unsubscribe_faults() {
    let broker = Broker::shared();
    let filter = |version: Version, filter: &str| unsubscribe(version).filter(filter).encode();
    let with =
        |property: prop::Property| unsubscribe(Version::V5).filter("t").with(property).encode();
    check_connected(
        &broker,
        &[
            (
                "flags",
                &Version::OASIS,
                &|v| unsubscribe(v).filter("t").first_byte(0xA0).encode(),
                MALFORMED,
            ),
            ("empty", &Version::ALL, &|_| vec![0xA2, 0], MALFORMED),
            (
                "packet id 0",
                &Version::ALL,
                &|v| Unsubscribe::new(v, 0).filter("t").encode(),
                MALFORMED,
            ),
            (
                "property unknown",
                &V5,
                &|_| with(prop::raw(0x7E, [0])),
                MALFORMED,
            ),
            (
                "property of another packet",
                &V5,
                &|_| with(prop::message_expiry(1)),
                MALFORMED,
            ),
            ("filter empty", &Version::ALL, &|v| filter(v, ""), MALFORMED),
            (
                "filter not UTF-8",
                &Version::ALL,
                &|v| unsubscribe(v).filter(b"\xFF").encode(),
                MALFORMED,
            ),
            (
                "filter with a misplaced wildcard",
                &Version::ALL,
                &|v| filter(v, "a#"),
                MALFORMED,
            ),
            (
                "filter cut short",
                &ONLY_V3_1_1,
                &|_| vec![0xA2, 5, 0, 1, 0, 9, b't'],
                Close,
            ),
            (
                "$share/g",
                &Version::ALL,
                &|v| filter(v, "$share/g"),
                PROTOCOL,
            ),
            (
                "no filter",
                &Version::OASIS,
                &|v| unsubscribe(v).encode(),
                Disconnect(&[0x81, 0x82]),
            ),
            (
                "no filter in 3.1",
                &ONLY_V3_1,
                &|v| unsubscribe(v).encode(),
                GoOn(vec![vec![0xB0, 2, 0, 1]]),
            ),
        ],
    );
}
