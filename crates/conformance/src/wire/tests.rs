use super::*;

#[test]
fn a_connect_is_the_one_printed_in_the_standard() {
    let connect = Connect::new(Version::V5, "a")
        .keep_alive(10)
        .with(prop::session_expiry(10));
    assert_eq!(
        connect.encode(),
        b"\x10\x13\x00\x04MQTT\x05\x02\x00\x0a\x05\x11\x00\x00\x00\x0a\x00\x01a"
    );
}

#[test]
fn variable_integers_take_the_shortest_form() {
    for (value, bytes) in [
        (0, &[0][..]),
        (127, &[0x7F]),
        (128, &[0x80, 1]),
        (16_383, &[0xFF, 0x7F]),
        (16_384, &[0x80, 0x80, 1]),
        (268_435_455, &[0xFF, 0xFF, 0xFF, 0x7F]),
    ] {
        assert_eq!(variable_int(value), bytes, "{value}");
    }
}

#[test]
fn publish_and_subscribe_have_their_fields_in_order() {
    let publish = Publish::new(Version::V5, "t", "p")
        .qos(2, 7)
        .dup()
        .retained()
        .with(prop::byte(prop::PAYLOAD_FORMAT, 1));
    assert_eq!(publish.encode(), b"\x3d\x09\x00\x01t\x00\x07\x02\x01\x01p");
    let subscribe = Subscribe::new(Version::V3_1_1, 1).filter("a/+", 2);
    assert_eq!(subscribe.encode(), b"\x82\x08\x00\x01\x00\x03a/+\x02");
}

#[test]
fn flags_can_contradict_the_payload() {
    let connect = Connect::new(Version::V3_1_1, "a").user_name("u");
    assert_eq!(connect.flags(), 0x82);
    assert_eq!(connect.clone().clear_flags(0x80).flags(), 0x02);
    assert_eq!(connect.set_flags(0x01).flags(), 0x83);
}
