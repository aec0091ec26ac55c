//! UNSUBSCRIBE and UNSUBACK: chapters 3.10 and 3.11.

use crate::connect::ILL_FORMED;
use crate::support::*;

/// MQTT5-3.10.1-1, MQTT5-2.1.3-1, MQTT311-3.10.1-1, MQTT311-2.2.2-1, MQTT311-2.2.2-2.
#[test]
fn mqtt5_3_10_1_1_unsubscribe_with_other_flags_is_malformed() {
    let broker = Broker::shared();
    for version in Version::OASIS {
        for flags in [0, 1, 3, 6, 10, 15] {
            let packet = Unsubscribe::new(version, 1)
                .filter("t")
                .first_byte(0xA0 | flags);
            thrown_out(&broker, version, &packet.encode(), 0x81);
        }
    }
}

/// MQTT5-2.2.1-3, MQTT311-2.3.1-1.
#[test]
fn mqtt5_2_2_1_3_unsubscribe_with_packet_id_zero_is_refused() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let packet = Unsubscribe::new(version, 0).filter("t").encode();
        thrown_out(&broker, version, &packet, 0x81);
    }
}

/// MQTT5-3.10.3-1, MQTT5-1.5.4-1, MQTT5-1.5.4-2, MQTT311-3.10.3-1, MQTT311-1.5.3-1,
/// MQTT311-1.5.3-2.
#[test]
fn mqtt5_3_10_3_1_filter_must_be_utf8_without_null() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for filter in ILL_FORMED {
            let packet = Unsubscribe::new(version, 1).filter(filter).encode();
            thrown_out(&broker, version, &packet, 0x81);
        }
    }
}

/// MQTT5-3.10.3-2, MQTT311-3.10.3-2.
#[test]
fn mqtt5_3_10_3_2_unsubscribe_needs_a_filter() {
    let broker = Broker::shared();
    for version in Version::OASIS {
        let mut client = RawClient::join(&broker, version);
        client.send(&Unsubscribe::new(version, 1).encode());
        client.expect_end();
    }
}

/// MQTT5-3.10.4-1, MQTT311-3.10.4-1: only the very same characters are the same filter.
#[test]
fn mqtt5_3_10_4_1_filters_are_compared_character_by_character() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("Exact");
        let mut client = subscriber(&broker, version, &topic, 1);
        for other in [
            topic.replace("Exact", "exact"),
            topic.replace("Exact", "+"),
            format!("{topic}/"),
            format!("{topic}/#"),
            format!("/{topic}"),
            "#".to_owned(),
        ] {
            let code = client.unsubscribe(other);
            assert_eq!(code, version.is_v5().then_some(0x11));
        }
        let mut publisher = RawClient::join(&broker, version);
        publisher.publish(&topic, "still", 1);
        client.receive_payload("still");
        assert_eq!(client.unsubscribe(&topic), version.is_v5().then_some(0));
        publisher.publish(&topic, "gone", 1);
        let marker = unique_topic("marker");
        client.subscribe(&marker, 1);
        nothing_before_marker(&mut publisher, &mut client, &marker);
    }
}

/// MQTT5-3.10.4-2, MQTT311-3.10.4-2: nothing new after UNSUBACK, by wildcard filters too.
#[test]
fn mqtt5_3_10_4_2_deleted_subscription_receives_nothing_new() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let base = unique_topic("deleted");
        let marker = unique_topic("marker");
        let mut client = subscriber(&broker, version, &marker, 1);
        let mut publisher = RawClient::join(&broker, version);
        for filter in [
            format!("{base}/#"),
            format!("{base}/+"),
            format!("{base}/x"),
        ] {
            client.subscribe(&filter, 1);
            publisher.publish(format!("{base}/x"), "heard", 1);
            client.receive_payload("heard");
            client.unsubscribe(&filter);
            publisher.publish(format!("{base}/x"), "unheard", 1);
            nothing_before_marker(&mut publisher, &mut client, &marker);
        }
    }
}

/// MQTT5-3.10.4-3, MQTT311-3.10.4-3: deliveries that have begun are completed.
#[test]
fn mqtt5_3_10_4_3_deliveries_in_flight_are_completed() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("flight");
        let connect = Connect::persistent(version, unique_id());
        let (mut client, _) = RawClient::connect(&broker, &connect);
        client.subscribe(&topic, 2);
        let mut publisher = RawClient::join(&broker, version);
        publisher.publish(&topic, "one", 1);
        publisher.publish(&topic, "two", 2);
        let one = client.expect_payload("one").packet_id.unwrap();
        let two = client.expect_payload("two").packet_id.unwrap();
        client.unsubscribe(&topic);
        client.send(&wire::pubrec(two));
        client.expect_bytes(&wire::pubrel(two));
        // The QoS 1 message is still owed, so it comes again with the session.
        client.cut();
        let (mut client, _) = RawClient::connect(&broker, &connect);
        let again = client.expect_payload("one");
        assert_eq!((again.packet_id, again.dup), (Some(one), true));
        client.expect_bytes(&wire::pubrel(two));
        client.send(&wire::puback(one));
        client.send(&wire::pubcomp(two));
        client.expect_silence_until_pong();
    }
}

/// MQTT5-3.10.4-4, MQTT5-3.10.4-5, MQTT5-3.10.4-6, MQTT5-2.2.1-6, MQTT5-3.11.3-1, MQTT5-3.11.3-2,
/// MQTT311-3.10.4-4, MQTT311-3.10.4-5, MQTT311-3.10.4-6, MQTT311-2.3.1-7: one UNSUBACK with the
/// packet id, and in 5.0 a code for each filter in order, whether it was there or not.
#[test]
fn mqtt5_3_11_3_1_unsuback_has_a_code_for_each_filter_in_order() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for id in [1, 255, 256, 65_535] {
            let mut client = subscriber(&broker, version, "there/a", 0);
            client.subscribe("there/b", 0);
            let packet = Unsubscribe::new(version, id)
                .filter("nothing/x")
                .filter("there/b")
                .filter("nothing/y")
                .filter("there/a")
                .filter("there/a");
            client.send(&packet.encode());
            let mut body = wire::two(id).to_vec();
            if version.is_v5() {
                body.extend([0, 0x11, 0, 0x11, 0, 0x11]);
            }
            client.expect_bytes(&wire::packet(first::UNSUBACK, &body));
        }
    }
}

/// MQTT5 3.11.3: a filter in `$` of which nobody has heard is not there either.
#[test]
fn unsubscribe_from_unknown_dollar_filters_finds_nothing() {
    let broker = Broker::shared();
    let mut client = subscriber(&broker, Version::V5, "there", 0);
    let packet = Unsubscribe::new(Version::V5, 9)
        .filter("there")
        .filter("$none/such");
    client.send(&packet.encode());
    assert_eq!(client.expect_unsuback(9).codes, [0, 0x11]);
}

/// MQTT5-3.11.2-1, MQTT5-3.11.2-2: an UNSUBACK is its codes, for a client that can take no more.
#[test]
fn mqtt5_3_11_2_1_unsuback_fits_the_client() {
    let broker = Broker::shared();
    let mut client = smallest_client(&broker);
    client.send(&Unsubscribe::new(Version::V5, 1).filter("nothing").encode());
    let answer = client.expect_unsuback(1);
    assert_eq!(answer.codes, [0x11]);
    assert!(answer.properties.is_empty());
}
