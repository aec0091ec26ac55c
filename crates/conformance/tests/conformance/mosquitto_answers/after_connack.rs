//! Faults of any packet behind CONNACK, and of PINGREQ, DISCONNECT and AUTH.

use super::*;

/// A fixed header that announces `length` bytes, and none of them.
fn header(first_byte: u8, length: usize) -> Vec<u8> {
    [vec![first_byte], wire::variable_int(length)].concat()
}

#[test]
fn any_packet() {
    let broker = Broker::shared();
    check_connected(
        &broker,
        &[
            ("type 0", &Version::ALL, &|_| vec![0, 0], PROTOCOL),
            (
                "above the maximum packet size",
                &Version::ALL,
                &|_| header(first::PUBLISH, 2_000_000),
                Disconnect(&[0x95]),
            ),
            (
                "SUBSCRIBE over 100000",
                &V5,
                &|_| header(first::SUBSCRIBE, 100_010),
                Close,
            ),
            (
                "UNSUBSCRIBE over 100000",
                &V5,
                &|_| header(first::UNSUBSCRIBE, 100_010),
                Close,
            ),
            (
                "AUTH over 100000",
                &Version::ALL,
                &|_| header(first::AUTH, 100_010),
                Close,
            ),
            (
                "PUBACK over 10000",
                &V5,
                &|_| header(first::PUBACK, 10_010),
                Close,
            ),
            (
                "PUBREC over 10000",
                &V5,
                &|_| header(first::PUBREC, 10_010),
                Close,
            ),
            (
                "PUBREL over 10000",
                &V5,
                &|_| header(first::PUBREL, 10_010),
                Close,
            ),
            (
                "PUBCOMP over 10000",
                &V5,
                &|_| header(first::PUBCOMP, 10_010),
                Close,
            ),
            (
                "DISCONNECT over 10000",
                &V5,
                &|_| header(first::DISCONNECT, 10_010),
                Close,
            ),
            (
                "PINGREQ with a body",
                &Version::ALL,
                &|_| vec![0xC0, 1, 0],
                Close,
            ),
            (
                "PINGRESP with a body",
                &Version::ALL,
                &|_| vec![0xD0, 1, 0],
                Close,
            ),
            ("PUBACK of 3 bytes", &V3, &|_| vec![0x40, 3, 0, 1, 0], Close),
            ("PUBREC of 3 bytes", &V3, &|_| vec![0x50, 3, 0, 1, 0], Close),
            ("PUBREL of 3 bytes", &V3, &|_| vec![0x62, 3, 0, 1, 0], Close),
            (
                "PUBCOMP of 3 bytes",
                &V3,
                &|_| vec![0x70, 3, 0, 1, 0],
                Close,
            ),
            ("DISCONNECT with a body", &V3, &|_| vec![0xE0, 1, 0], Close),
            ("CONNACK", &Version::ALL, &|_| vec![0x20, 2, 0, 0], PROTOCOL),
            (
                "SUBACK",
                &Version::ALL,
                &|_| vec![0x90, 3, 0, 1, 0],
                PROTOCOL,
            ),
            (
                "UNSUBACK",
                &Version::ALL,
                &|_| vec![0xB0, 3, 0, 1, 0],
                PROTOCOL,
            ),
            ("PINGRESP", &Version::ALL, &|_| vec![0xD0, 0], PROTOCOL),
            (
                "SUBACK with flags",
                &Version::ALL,
                &|_| vec![0x91, 3, 0, 1, 0],
                MALFORMED,
            ),
            (
                "UNSUBACK with flags",
                &Version::ALL,
                &|_| vec![0xB1, 3, 0, 1, 0],
                MALFORMED,
            ),
            (
                "PINGRESP with flags",
                &Version::ALL,
                &|_| vec![0xD1, 0],
                MALFORMED,
            ),
            (
                "remaining length of five bytes",
                &Version::ALL,
                &|_| vec![0x30, 0x80, 0x80, 0x80, 0x80, 0x01],
                Close,
            ),
        ],
    );
}

#[test]
fn remaining_length_may_be_longer_than_it_needs() {
    let broker = Broker::shared();
    check_connected(
        &broker,
        &[(
            "PINGREQ of length 80 00",
            &Version::ALL,
            &|_| vec![0xC0, 0x80, 0x00],
            GoOn(vec![vec![0xD0, 0]]),
        )],
    );
}

#[test]
fn ping_disconnect_and_auth_faults() {
    let broker = Broker::shared();
    let with = |list: &[prop::Property]| wire::reasoned(first::DISCONNECT, 0, list);
    let method = [prop::text(prop::AUTH_METHOD, "m")];
    check_connected(
        &broker,
        &[
            (
                "PINGREQ with flags",
                &Version::ALL,
                &|_| vec![0xC1, 0],
                MALFORMED,
            ),
            (
                "DISCONNECT with flags: the standard's 0x81",
                &Version::OASIS,
                &|_| vec![0xE1, 0],
                MALFORMED,
            ),
            (
                "DISCONNECT with flags in 3.1",
                &ONLY_V3_1,
                &|_| vec![0xE1, 0],
                Close,
            ),
            (
                "session expiry where there was none",
                &V5,
                &|_| with(&[prop::session_expiry(1)]),
                PROTOCOL,
            ),
            (
                "property unknown",
                &V5,
                &|_| with(&[prop::raw(0x7E, [0])]),
                MALFORMED,
            ),
            (
                "property of another packet",
                &V5,
                &|_| with(&[prop::message_expiry(1)]),
                PROTOCOL,
            ),
            (
                "property twice",
                &V5,
                &|_| with(&[prop::session_expiry(0), prop::session_expiry(0)]),
                PROTOCOL,
            ),
            (
                "property not UTF-8",
                &V5,
                &|_| with(&[prop::user(b"\xFF", "")]),
                Close,
            ),
            (
                "trailing byte: Mosquitto says 0x82, the standard 0x81",
                &V5,
                &|_| vec![0xE0, 3, 0, 0, 0],
                Disconnect(&[0x81, 0x82]),
            ),
            (
                "AUTH without a method at CONNECT",
                &V5,
                &|_| wire::reasoned(first::AUTH, 0x19, &method),
                PROTOCOL,
            ),
            ("AUTH in 3.x", &V3, &|_| vec![0xF0, 0], Close),
        ],
    );
}
