use std::vec::Vec;

use super::*;
use crate::tests::{check, packet, section, text, whole_at};
use crate::{Packet, PropertyId};

/// A CONNECT taken apart, so that one field at a time can be spoilt.
#[derive(Clone)]
struct Parts {
    first: u8,
    name: Vec<u8>,
    level: u8,
    flags: u8,
    properties: Option<Vec<u8>>,
    client_id: Vec<u8>,
    /// What follows the client id.
    rest: Vec<u8>,
}

impl Parts {
    fn new(version: Version) -> Self {
        Self {
            first: 0x10,
            name: text(version.protocol_name()),
            level: version.level(),
            flags: CLEAN_START,
            properties: version.has_properties().then(Vec::new),
            client_id: text("c"),
            rest: Vec::new(),
        }
    }

    fn with(version: Version, flags: u8, rest: &[&[u8]]) -> Self {
        Self {
            flags,
            rest: rest.concat(),
            ..Self::new(version)
        }
    }

    fn body(&self) -> Vec<u8> {
        let properties = self.properties.as_ref().map(|content| section(content));
        [
            &self.name[..],
            &[self.level, self.flags, 0, 60],
            &properties.unwrap_or_default(),
            &self.client_id,
            &self.rest,
        ]
        .concat()
    }

    fn bytes(&self) -> Vec<u8> {
        packet(self.first, &[&self.body()])
    }
}

fn plain(version: Version) -> Connect<'static> {
    Connect {
        version,
        bridge: false,
        clean_start: true,
        keep_alive: 60,
        properties: Properties::NONE,
        client_id: "c",
        will: None,
        user_name: None,
        password: None,
    }
}

fn check_good(parts: &Parts, expected: Connect<'_>) {
    check(
        expected.version,
        &parts.bytes(),
        Ok(Packet::Connect(expected)),
    );
}

/// What a peer sees of a fault: nothing, or a CONNACK in a version's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Close,
    ConnAck(Version, u8),
}

const MALFORMED: Answer = Answer::ConnAck(Version::V5, 0x81);
const PROTOCOL_ERROR: Answer = Answer::ConnAck(Version::V5, 0x82);

fn answer(parts: &Parts) -> Option<Answer> {
    let body = parts.body();
    let fault = Connect::decode(parts.first, &body).err()?;
    assert!(!fault.why().is_empty());
    let any = Packet::decode(parts.first, Version::V5, &body);
    assert_eq!(any, Err(DecodeError::Connect));
    Some(match fault {
        ConnectFault::Close(_) => Answer::Close,
        ConnectFault::ConnAck {
            version, reason, ..
        } => Answer::ConnAck(version, reason.0),
    })
}

fn check_fault(parts: &Parts, expected: Answer) {
    assert_eq!(answer(parts), Some(expected), "{:02x?}", parts.bytes());
}

/// The same fault in 3.1, 3.1.1 and 5.0; `None` where it is none.
fn check_faults(parts: impl Fn(Version) -> Parts, expected: [Option<Answer>; 3]) {
    for (version, expected) in Version::ALL.into_iter().zip(expected) {
        let parts = parts(version);
        assert_eq!(
            answer(&parts),
            expected,
            "{version:?} {:02x?}",
            parts.bytes()
        );
    }
}

const CLOSED: Option<Answer> = Some(Answer::Close);

#[test]
fn the_smallest_connect_is_read_in_every_version() {
    for version in Version::ALL {
        check_good(&Parts::new(version), plain(version));
        let mut parts = Parts::new(version);
        parts.client_id = text("");
        parts.flags = 0;
        let expected = Connect {
            client_id: "",
            clean_start: false,
            ..plain(version)
        };
        check_good(&parts, expected);
    }
}

/// `[MQTT5-3.1.3-1]`, `[MQTT311-3.1.3-1]`: client id, will, user name, password.
/// `[MQTT5-3.1.3-3]`, `[MQTT311-3.1.3-3]`, `[MQTT5-3.1.2-9]`, `[MQTT311-3.1.2-9]`,
/// `[MQTT5-3.1.2-17]`, `[MQTT311-3.1.2-19]`, `[MQTT5-3.1.2-19]`, `[MQTT311-3.1.2-21]`
#[test]
fn the_fields_follow_in_the_order_of_the_standard() {
    let connection = [
        Property::SessionExpiryInterval(1),
        Property::ReceiveMaximum(2),
        Property::AuthenticationMethod("m"),
        Property::AuthenticationData(b"d"),
    ];
    let message = [Property::WillDelayInterval(3), Property::ContentType("t")];
    for version in Version::ALL {
        let is_5 = version.has_properties();
        let will_properties = section(&[0x18, 0, 0, 0, 3, 0x03, 0, 1, b't']);
        let mut parts = Parts::with(
            version,
            0xEE,
            &[
                if is_5 { &will_properties } else { &[] },
                &text("w/t"),
                &[0, 2, 0xFF, 0],
                &text("user"),
                &[0, 1, 0xFE],
            ],
        );
        let mut expected = Connect {
            will: Some(Will {
                qos: QoS::AtLeastOnce,
                retain: true,
                properties: Properties::NONE,
                topic: "w/t",
                payload: &[0xFF, 0],
            }),
            user_name: Some("user"),
            password: Some(&[0xFE]),
            ..plain(version)
        };
        if is_5 {
            let content = [
                0x11, 0, 0, 0, 1, 0x21, 0, 2, 0x15, 0, 1, b'm', 0x16, 0, 1, b'd',
            ];
            parts.properties = Some(content.to_vec());
            expected.properties = Properties::from_list(&connection);
            if let Some(will) = &mut expected.will {
                will.properties = Properties::from_list(&message);
            }
        }
        check_good(&parts, expected);
        let bytes = parts.bytes();
        let end = parts.body().len();
        // In 3.1 user name and password may be left out although their flags are set.
        let whole: &[usize] = match version {
            Version::V3_1 => &[end - 9, end - 3, end],
            Version::V3_1_1 | Version::V5 => &[end],
        };
        assert_eq!(whole_at(version, &bytes), whole, "{version:?}");
    }
}

/// `[MQTT5-3.1.2-16]`, `[MQTT311-3.1.2-18]`, `[MQTT5-3.1.2-18]`, `[MQTT311-3.1.2-20]`,
/// `[MQTT311-3.1.2-11]`: the encoder sets a flag exactly when the field is there.
#[test]
fn a_flag_that_is_not_set_has_no_field() {
    for version in Version::ALL {
        let name = Parts::with(version, 0x82, &[&text("u")]);
        let expected = Connect {
            user_name: Some("u"),
            ..plain(version)
        };
        check_good(&name, expected);
    }
    let password = Parts::with(Version::V5, 0x42, &[&[0, 1, 7]]);
    let expected = Connect {
        password: Some(&[7]),
        ..plain(Version::V5)
    };
    check_good(&password, expected);
}

/// `[MQTT5-3.1.2-1]`, `[MQTT311-3.1.2-1]`: nothing but MQTT is taken for MQTT.
#[test]
fn another_protocol_name_is_closed_without_an_answer() {
    for name in [
        "", "M", "mqtt", "MQTs", "AMQP", "MQIsdq", "MQTTX", "HTTP/1.1",
    ] {
        check_faults(
            |version| Parts {
                name: text(name),
                ..Parts::new(version)
            },
            [CLOSED; 3],
        );
    }
    for body in [&[][..], &[0], &[0, 4], b"\0\x04MQT", b"\0\x04MQTT"] {
        let fault = Connect::decode(0x10, body);
        assert!(matches!(fault, Err(ConnectFault::Close(_))), "{body:02x?}");
    }
}

/// `[MQTT5-3.1.2-2]`; the level is judged before the text of a name of four or six bytes.
#[test]
fn an_unknown_level_is_answered_in_the_form_of_5_0() {
    let unsupported = Answer::ConnAck(Version::V5, 0x84);
    for name in ["MQTT", "MQIsdp", "ABCD"] {
        for level in [0, 1, 2, 6, 7, 0x7F, 0x80, 0x82, 0x85, 0x86, 0xFF] {
            let parts = Parts {
                name: text(name),
                level,
                ..Parts::new(Version::V3_1_1)
            };
            check_fault(&parts, unsupported);
        }
    }
}

/// `[MQTT311-3.1.2-2]`: return code 1, here for a level that does not go with the name.
#[test]
fn a_name_and_a_level_that_do_not_fit_are_answered_in_the_form_of_3_x() {
    for (name, level) in [("MQTT", 3), ("MQTT", 0x83), ("MQIsdp", 4), ("MQIsdp", 5)] {
        let parts = Parts {
            name: text(name),
            level,
            ..Parts::new(Version::V3_1_1)
        };
        check_fault(&parts, Answer::ConnAck(Version::V3_1_1, 0x84));
    }
    let code = ReasonCode::UNSUPPORTED_PROTOCOL_VERSION.connack_v3();
    assert_eq!(code, Some(1));
}

#[test]
fn the_top_bit_of_a_level_before_5_0_marks_a_bridge() {
    for version in [Version::V3_1, Version::V3_1_1] {
        let parts = Parts {
            level: version.level() | 0x80,
            ..Parts::new(version)
        };
        let expected = Connect {
            bridge: true,
            ..plain(version)
        };
        check_good(&parts, expected);
    }
}

/// `[MQTT311-2.2.2-2]`; 3.1 left them undefined.
#[test]
fn flags_of_the_fixed_header_are_refused_from_3_1_1_on() {
    for first in 0x11..=0x1F {
        check_faults(
            |version| Parts {
                first,
                ..Parts::new(version)
            },
            [None, CLOSED, CLOSED],
        );
    }
}

/// `[MQTT5-3.1.2-3]`, `[MQTT311-3.1.2-3]`
#[test]
fn the_reserved_connect_flag_is_zero() {
    check_faults(
        |version| Parts::with(version, 3, &[]),
        [None, CLOSED, CLOSED],
    );
}

/// `[MQTT5-3.1.2-12]`, `[MQTT311-3.1.2-14]`
#[test]
fn will_qos_3_is_refused_with_and_without_a_will() {
    check_faults(|version| Parts::with(version, 0x1A, &[]), [CLOSED; 3]);
    let will = [&[0, 1, b't'][..], &[0, 0]].concat();
    check_faults(|version| Parts::with(version, 0x1E, &[&will]), [CLOSED; 3]);
}

/// `[MQTT5-3.1.2-11]`, `[MQTT311-3.1.2-13]`, `[MQTT5-3.1.2-13]`, `[MQTT311-3.1.2-15]`
#[test]
fn without_a_will_its_qos_and_retain_flags_are_zero() {
    for flags in [0x0A, 0x12, 0x22, 0x32] {
        check_faults(
            |version| Parts::with(version, flags, &[]),
            [None, CLOSED, CLOSED],
        );
    }
}

/// `[MQTT311-3.1.2-22]`; 5.0 allows it.
#[test]
fn a_password_needs_a_user_name_before_5_0() {
    check_faults(
        |version| Parts::with(version, 0x42, &[&[0, 1, 7]]),
        [CLOSED, CLOSED, None],
    );
}

/// `[MQTT311-3.1.4-1]`, `[MQTT5-3.1.4-1]`
#[test]
fn a_connect_cut_short_before_its_payload_is_closed() {
    for version in Version::ALL {
        let body = Parts::new(version).body();
        let client_id = body.len() - 3;
        for end in 0..body.len() {
            let fault = Connect::decode(0x10, &body[..end]).unwrap_err();
            let in_properties = version.has_properties() && end == client_id - 1;
            let is_close = matches!(fault, ConnectFault::Close(_));
            assert_eq!(is_close, !in_properties, "{version:?} {end}");
        }
    }
}

#[test]
fn faulty_properties_are_answered_by_their_kind() {
    let check = |content: &[u8], expected| {
        let mut parts = Parts::new(Version::V5);
        parts.properties = Some(content.to_vec());
        check_fault(&parts, expected);
    };
    check(&[0x7F], MALFORMED);
    check(&[0x21, 0], MALFORMED);
    check(&[0xA1, 0x00, 0, 1], MALFORMED);
    check(&[0x21, 0, 0], PROTOCOL_ERROR);
    check(&[0x27, 0, 0, 0, 0], PROTOCOL_ERROR);
    check(&[0x17, 2], PROTOCOL_ERROR);
    check(&[0x19, 2], PROTOCOL_ERROR);
    check(&[0x23, 0, 1], PROTOCOL_ERROR);
    check(&[0x21, 0, 1, 0x21, 0, 1], PROTOCOL_ERROR);
    check(&[0x26, 0, 1, 0xFF, 0, 0], Answer::Close);
    check(&[0x15, 0, 1, 0], Answer::Close);
    let mut parts = Parts::new(Version::V5);
    parts.properties = None;
    parts.client_id = std::vec![0x80, 0x00];
    check_fault(&parts, MALFORMED);
    let scope = PropertyId::WillDelayInterval.scope();
    assert_ne!(scope, Scope::CONNECT);
    check(&[0x18, 0, 0, 0, 1], PROTOCOL_ERROR);
}

/// MQTT5 3.1.2.11.10
#[test]
fn authentication_data_without_a_method_is_a_protocol_error() {
    let mut parts = Parts::new(Version::V5);
    parts.properties = Some(std::vec![0x16, 0, 1, 0]);
    check_fault(&parts, PROTOCOL_ERROR);
    parts.properties = Some(std::vec![0x16, 0, 1, 0, 0x15, 0, 1, b'm']);
    assert_eq!(answer(&parts), None);
}

/// `[MQTT5-3.1.3-4]`, `[MQTT311-3.1.3-4]`
#[test]
fn a_client_id_is_utf_8() {
    let invalid = Answer::ConnAck(Version::V5, 0x85);
    for client_id in [&[0, 1, 0xFF][..], &[0, 1, 0], &[0, 3, 0xED, 0xA0, 0x80]] {
        check_faults(
            |version| Parts {
                client_id: client_id.to_vec(),
                ..Parts::new(version)
            },
            [CLOSED, CLOSED, Some(invalid)],
        );
    }
}

fn with_will(version: Version, properties: &[u8], fields: &[&[u8]]) -> Parts {
    let properties = if version.has_properties() {
        section(properties)
    } else {
        Vec::new()
    };
    Parts::with(version, 0x06, &[&properties, &fields.concat()])
}

#[test]
fn faulty_will_properties_are_answered_by_their_kind() {
    let check = |content: &[u8], expected| {
        let parts = with_will(Version::V5, content, &[&text("t"), &[0, 0]]);
        check_fault(&parts, expected);
    };
    check(&[0x7F], MALFORMED);
    check(&[0x18, 0, 0, 0], MALFORMED);
    check(&[0x01, 2], PROTOCOL_ERROR);
    check(&[0x08, 0, 1, b'#'], PROTOCOL_ERROR);
    check(&[0x23, 0, 1], PROTOCOL_ERROR);
    check(&[0x01, 1, 0x01, 1], PROTOCOL_ERROR);
    check(&[0x03, 0, 1, 0xFF], Answer::Close);
}

/// `[MQTT5-3.1.3-11]`, `[MQTT311-3.1.3-10]`, and the rules of topic names.
#[test]
fn a_will_topic_is_a_topic_name() {
    let expected = [CLOSED, CLOSED, Some(PROTOCOL_ERROR)];
    check_faults(
        |version| with_will(version, &[], &[&text(""), &[0, 0]]),
        expected,
    );
    for topic in [&b"\xFF"[..], b"\0", b"\xED\xA0\x80", b"a/#", b"+", b"a+"] {
        let mut field = Vec::new();
        field.put_binary(topic);
        check_faults(
            |version| with_will(version, &[], &[&field, &[0, 0]]),
            [CLOSED; 3],
        );
    }
}

/// `[MQTT5-3.1.2-9]`, `[MQTT311-3.1.2-9]`
#[test]
fn a_will_that_is_missing_or_cut_short_is_refused() {
    let expected = [CLOSED, CLOSED, Some(MALFORMED)];
    for fields in [
        &[][..],
        &[0],
        &[0, 2, b't'],
        &[0, 1, b't'],
        &[0, 1, b't', 0, 1],
    ] {
        check_faults(|version| with_will(version, &[], &[fields]), expected);
    }
}

/// `[MQTT5-3.1.2-17]`, `[MQTT311-3.1.2-19]`, `[MQTT5-3.1.2-19]`, `[MQTT311-3.1.2-21]`
#[test]
fn credentials_that_are_announced_and_missing_are_ignored_in_3_1_alone() {
    let name_missing = |version| Parts::with(version, 0x82, &[]);
    check_faults(name_missing, [None, CLOSED, CLOSED]);
    let password_missing = |version| Parts::with(version, 0xC2, &[&text("u")]);
    check_faults(password_missing, [None, CLOSED, CLOSED]);
    let read = |parts: Parts| {
        let body = parts.body();
        let connect = Connect::decode(0x10, &body).unwrap();
        (connect.user_name.is_some(), connect.password.is_some())
    };
    assert_eq!(read(name_missing(Version::V3_1)), (false, false));
    let both_missing = Parts::with(Version::V3_1, 0xC2, &[]);
    assert_eq!(read(both_missing), (false, false));
    assert_eq!(read(password_missing(Version::V3_1)), (true, false));
}

#[test]
fn credentials_that_are_cut_short_are_refused() {
    for field in [&[0][..], &[0, 5], &[0, 5, 0, 1, b'x']] {
        check_faults(|version| Parts::with(version, 0x82, &[field]), [CLOSED; 3]);
        check_faults(|version| Parts::with(version, 0xC2, &[field]), [CLOSED; 3]);
        let with_name = |version| Parts::with(version, 0xC2, &[&text("u"), field]);
        check_faults(with_name, [CLOSED; 3]);
    }
}

/// `[MQTT5-3.1.3-12]`, `[MQTT311-3.1.3-11]`; a password is any bytes.
#[test]
fn a_user_name_is_utf_8() {
    for name in [&[0, 1, 0xFF][..], &[0, 1, 0], &[0, 3, 0xED, 0xA0, 0x80]] {
        check_faults(|version| Parts::with(version, 0x82, &[name]), [CLOSED; 3]);
    }
}

#[test]
fn bytes_behind_the_last_field_are_refused() {
    let expected = [CLOSED, CLOSED, Some(MALFORMED)];
    check_faults(|version| Parts::with(version, 0x02, &[&[0]]), expected);
    let behind_name = |version| Parts::with(version, 0x82, &[&text("u"), &text("p")]);
    check_faults(behind_name, expected);
}

#[test]
fn a_connect_whose_fields_do_not_fit_is_not_written() {
    let long = "c".repeat(65_536);
    let mut bytes = Vec::new();
    for version in Version::ALL {
        let connect = Connect {
            client_id: &long,
            ..plain(version)
        };
        assert_eq!(connect.encode(&mut bytes), Err(EncodeError::FieldTooLong));
    }
    assert!(bytes.is_empty());
}
