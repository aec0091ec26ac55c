//! SUBSCRIBE and SUBACK: chapters 3.8 and 3.9; delivery by subscription: 3.3.4.

use crate::connect::ILL_FORMED;
use crate::support::*;

/// MQTT5-3.8.1-1, MQTT5-2.1.3-1, MQTT311-3.8.1-1, MQTT311-2.2.2-1, MQTT311-2.2.2-2.
#[test]
fn mqtt5_3_8_1_1_subscribe_with_other_flags_is_malformed() {
    let broker = Broker::shared();
    for version in Version::OASIS {
        for flags in [0, 1, 3, 6, 10, 15] {
            let subscribe = Subscribe::new(version, 1)
                .filter("t", 0)
                .first_byte(0x80 | flags);
            thrown_out(&broker, version, &subscribe.encode(), 0x81);
        }
    }
}

/// MQTT5-2.2.1-3, MQTT311-2.3.1-1.
#[test]
fn mqtt5_2_2_1_3_subscribe_with_packet_id_zero_is_refused() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let subscribe = Subscribe::new(version, 0).filter("t", 0).encode();
        thrown_out(&broker, version, &subscribe, 0x81);
    }
}

/// MQTT5-3.8.3-1, MQTT5-1.5.4-1, MQTT5-1.5.4-2, MQTT5-4.7.3-2, MQTT311-3.8.3-1, MQTT311-1.5.3-1,
/// MQTT311-1.5.3-2, MQTT311-4.7.3-2.
#[test]
fn mqtt5_3_8_3_1_filter_must_be_utf8_without_null() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for filter in ILL_FORMED {
            let subscribe = Subscribe::new(version, 1).filter(filter, 0).encode();
            thrown_out(&broker, version, &subscribe, 0x81);
        }
    }
}

/// MQTT5-3.8.3-2, MQTT311-3.8.3-3.
#[test]
fn mqtt5_3_8_3_2_subscribe_needs_a_filter() {
    let broker = Broker::shared();
    for version in Version::OASIS {
        let mut client = RawClient::join(&broker, version);
        client.send(&Subscribe::new(version, 1).encode());
        client.expect_end();
    }
}

/// MQTT5-3.8.3-5: bits 6 and 7; MQTT5 3.8.3.1: QoS 3 and retain handling 3.
#[test]
fn mqtt5_3_8_3_5_reserved_option_bits_are_malformed() {
    let broker = Broker::shared();
    for options in [0x40, 0x80, 0xC0, 0x41, 0x03, 0x30, 0x31] {
        let subscribe = Subscribe::new(Version::V5, 1).filter("t", options).encode();
        thrown_out(&broker, Version::V5, &subscribe, 0x81);
    }
}

/// MQTT311-3.8.3-4.
#[test]
fn mqtt311_3_8_3_4_reserved_bits_and_qos_3_end_the_connection() {
    let broker = Broker::shared();
    for options in [0x03, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF] {
        let subscribe = Subscribe::new(Version::V3_1_1, 1)
            .filter("t", options)
            .encode();
        thrown_out(&broker, Version::V3_1_1, &subscribe, 0);
    }
}

/// MQTT5-3.8.4-1, MQTT5-3.8.4-2, MQTT5-2.2.1-6, MQTT5-3.8.4-6, MQTT5-3.8.4-7, MQTT5-3.9.3-1,
/// MQTT5-3.9.3-2, MQTT5-3.8.4-5, MQTT311-3.8.4-1, MQTT311-3.8.4-2, MQTT311-2.3.1-7,
/// MQTT311-3.8.4-4, MQTT311-3.8.4-5, MQTT311-3.9.3-1, MQTT311-3.9.3-2: one SUBACK with the packet
/// id and, in their order, a code for each filter.
#[test]
fn mqtt5_3_9_3_1_suback_has_a_code_for_each_filter_in_order() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for id in [1, 255, 256, 65_535] {
            let mut client = RawClient::join(&broker, version);
            let subscribe = Subscribe::new(version, id)
                .filter("codes/a", 2)
                .filter("codes/b", 0)
                .filter("codes/+", 1)
                .filter("codes/a", 0)
                .filter("#", 2);
            client.send(&subscribe.encode());
            let mut body = wire::two(id).to_vec();
            if version.is_v5() {
                body.push(0);
            }
            body.extend([2, 0, 1, 0, 2]);
            // "#" may bring messages of other tests, behind the SUBACK.
            client.expect_bytes(&wire::packet(first::SUBACK, &body));
        }
    }
}

/// MQTT5-3.8.4-5, MQTT311-3.8.4-4: the filters of one packet count like those of several; the
/// same filter again replaces what came before it.
#[test]
fn mqtt5_3_8_4_5_filters_of_one_packet_count_one_after_the_other() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("sequence");
        let mut client = RawClient::join(&broker, version);
        let subscribe = Subscribe::new(version, 1)
            .filter(format!("{topic}/x"), 1)
            .filter(format!("{topic}/y"), 2)
            .filter(format!("{topic}/y"), 0);
        client.send(&subscribe.encode());
        client.expect_suback(1);
        let mut publisher = RawClient::join(&broker, version);
        publisher.publish(format!("{topic}/x"), "x", 2);
        publisher.publish(format!("{topic}/y"), "y", 2);
        assert_eq!(client.receive_payload("x").qos, 1);
        assert_eq!(client.receive_payload("y").qos, 0);
        client.expect_silence_until_pong();
    }
}

/// MQTT5-3.8.4-8, MQTT311-3.8.4-6: the lower one of published and granted QoS.
#[test]
fn mqtt5_3_8_4_8_delivery_is_at_the_lower_qos() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for granted in 0..=2 {
            for published in 0..=2 {
                let topic = unique_topic("lower");
                let mut watcher = subscriber(&broker, version, &topic, granted);
                RawClient::join(&broker, version).publish(&topic, "m", published);
                assert_eq!(watcher.receive_payload("m").qos, granted.min(published));
            }
        }
    }
}

/// MQTT5-3.8.4-3, MQTT5-3.8.4-4, MQTT311-3.8.4-3: the same filter again replaces the subscription,
/// and sends retained messages again.
#[test]
fn mqtt5_3_8_4_3_same_filter_replaces_the_subscription() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("replace");
        let mut publisher = RawClient::join(&broker, version);
        publisher.publish_retained(&topic, "kept", 1);
        let mut client = subscriber(&broker, version, &topic, 0);
        assert_eq!(client.receive_payload("kept").qos, 0);
        assert_eq!(client.subscribe(&topic, 1), 1);
        let again = client.receive_payload("kept");
        assert_eq!((again.qos, again.retain), (1, true));
        publisher.publish(&topic, "live", 2);
        assert_eq!(client.receive_payload("live").qos, 1);
        client.expect_silence_until_pong();
        publisher.publish_retained(&topic, "", 0);
    }
}

/// MQTT5-3.8.4-4: messages are not lost while a subscription is replaced.
#[test]
fn mqtt5_3_8_4_4_replacing_a_subscription_loses_nothing() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("lossless");
        let mut client = subscriber(&broker, version, &topic, 1);
        let mut publisher = RawClient::join(&broker, version);
        for round in 0..10 {
            let id = client.fresh_packet_id();
            client.send(&Subscribe::new(version, id).filter(&topic, 1).encode());
            publisher.publish(&topic, round.to_string(), 1);
            client.expect_suback(id);
            client.receive_payload(round.to_string());
        }
    }
}

/// MQTT5-3.8.3-3: no local. Others hear, and the client hears others.
#[test]
fn mqtt5_3_8_3_3_no_local_hides_own_publications() {
    let broker = Broker::shared();
    let topic = unique_topic("local");
    let mut client = subscriber(&broker, Version::V5, &topic, 1 | option::NO_LOCAL);
    let mut other = subscriber(&broker, Version::V5, &topic, 1 | option::NO_LOCAL);
    client.publish(&topic, "from client", 1);
    other.receive_payload("from client");
    other.publish(&topic, "from other", 1);
    client.receive_payload("from other");
    client.expect_silence_until_pong();
    other.expect_silence_until_pong();
}

/// MQTT5-3.8.3-3: without the option a client hears itself, as in 3.x.
#[test]
fn mqtt5_3_8_3_3_own_publications_come_back_without_no_local() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("echo");
        let mut client = subscriber(&broker, version, &topic, 1);
        client.publish(&topic, "own", 1);
        client.receive_payload("own");
    }
}

/// MQTT5-3.8.3-4.
#[test]
fn mqtt5_3_8_3_4_no_local_on_a_shared_subscription_is_a_protocol_error() {
    let broker = Broker::shared();
    let subscribe = Subscribe::new(Version::V5, 1).filter("$share/g/t", option::NO_LOCAL);
    thrown_out(&broker, Version::V5, &subscribe.encode(), 0x82);
}

/// MQTT5-3.3.4-3, MQTT5-3.3.4-5: each copy for overlapping subscriptions has the identifier of
/// its own subscription, and none without one.
#[test]
fn mqtt5_3_3_4_5_each_copy_has_its_own_subscription_identifier() {
    let broker = Broker::shared();
    let topic = unique_topic("overlap");
    let mut client = RawClient::join(&broker, Version::V5);
    for (packet_id, filter, options, id) in [
        (1, topic.clone(), 0, Some(1)),
        (2, format!("{topic}/#"), 1, Some(268_435_455)),
        (3, topic.replace("/overlap", "/+"), 2, None),
    ] {
        let subscribe = Subscribe::new(Version::V5, packet_id).filter(filter, options);
        let subscribe = match id {
            Some(id) => subscribe.with(prop::subscription_id(id)),
            None => subscribe,
        };
        client.send(&subscribe.encode());
        client.expect_suback(packet_id);
    }
    RawClient::join(&broker, Version::V5).publish(&topic, "m", 2);
    let mut copies: Vec<(u8, Vec<u32>)> = (0..3)
        .map(|_| {
            let message = client.receive_payload("m");
            (
                message.qos,
                message.properties.numbers(prop::SUBSCRIPTION_ID),
            )
        })
        .collect();
    copies.sort();
    assert_eq!(copies, [(0, vec![1]), (1, vec![268_435_455]), (2, vec![])]);
    client.expect_silence_until_pong();
}

/// MQTT5-3.3.4-2, MQTT5-3.3.4-4, MQTT311-3.3.5-1: where the operator wants one copy, it has the
/// highest QoS granted and the identifiers of all subscriptions that match.
#[test]
fn mqtt5_3_3_4_4_single_copy_has_the_highest_qos_and_all_identifiers() {
    let Some(broker) = Broker::with_config("allow_duplicate_messages false") else {
        return;
    };
    for version in Version::ALL {
        let topic = unique_topic("single");
        let mut client = RawClient::join(&broker, version);
        for (packet_id, filter, options, id) in [
            (1, topic.clone(), 0, 11),
            (2, format!("{topic}/#"), 2, 12),
            (3, topic.replace("/single", "/+"), 1, 13),
        ] {
            let subscribe = Subscribe::new(version, packet_id)
                .filter(filter, options)
                .with(prop::subscription_id(id));
            client.send(&subscribe.encode());
            client.expect_suback(packet_id);
        }
        RawClient::join(&broker, version).publish(&topic, "m", 2);
        let message = client.receive_payload("m");
        assert_eq!(message.qos, 2);
        if version.is_v5() {
            let mut ids = message.properties.numbers(prop::SUBSCRIPTION_ID);
            ids.sort_unstable();
            assert_eq!(ids, [11, 12, 13]);
        }
        client.expect_silence_until_pong();
    }
}

/// MQTT5-3.3.4-2, MQTT311-3.3.5-1: among the copies for overlapping subscriptions is one of the
/// highest QoS granted.
#[test]
fn mqtt5_3_3_4_2_overlapping_subscriptions_reach_the_highest_qos() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("highest");
        let mut client = subscriber(&broker, version, &topic, 0);
        client.subscribe(format!("{topic}/#"), 2);
        RawClient::join(&broker, version).publish(&topic, "m", 2);
        // One copy or two, as the broker does it.
        let mut highest = client.receive_payload("m").qos;
        client.send(&wire::PINGREQ);
        while let Packet::Publish(copy) = client.expect_packet("PINGRESP").1 {
            highest = highest.max(copy.qos);
        }
        assert_eq!(highest, 2);
    }
}

/// MQTT5 3.8.2.1.2: identifiers are kept, replaced and removed with the subscription.
#[test]
fn subscription_identifier_is_replaced_with_the_subscription() {
    let broker = Broker::shared();
    let topic = unique_topic("identifier");
    let mut client = RawClient::join(&broker, Version::V5);
    let mut publisher = RawClient::join(&broker, Version::V5);
    for (packet_id, subscription_id) in [(1, Some(5)), (2, Some(6)), (3, None)] {
        let subscribe = Subscribe::new(Version::V5, packet_id).filter(&topic, 1);
        let subscribe = match subscription_id {
            Some(id) => subscribe.with(prop::subscription_id(id)),
            None => subscribe,
        };
        client.send(&subscribe.encode());
        client.expect_suback(packet_id);
        publisher.publish(&topic, "m", 1);
        let message = client.receive_payload("m");
        assert_eq!(
            message.properties.number(prop::SUBSCRIPTION_ID),
            subscription_id
        );
    }
}

/// MQTT5 3.8.2.1.2: 0 is a protocol error, and so are two of them.
#[test]
fn subscription_identifier_zero_or_twice_is_a_protocol_error() {
    let broker = Broker::shared();
    let subscribe = Subscribe::new(Version::V5, 1).filter("t", 0);
    let zero = subscribe.clone().with(prop::subscription_id(0));
    thrown_out(&broker, Version::V5, &zero.encode(), 0x82);
    let twice = subscribe
        .with(prop::subscription_id(1))
        .with(prop::subscription_id(1));
    thrown_out(&broker, Version::V5, &twice.encode(), 0x82);
}

/// MQTT5-3.9.2-1, MQTT5-3.9.2-2: a SUBACK is its codes, for a client that can take no more.
#[test]
fn mqtt5_3_9_2_1_suback_fits_the_client() {
    let broker = Broker::shared();
    let mut client = smallest_client(&broker);
    client.send(&Subscribe::new(Version::V5, 1).filter("fits", 1).encode());
    assert!(client.expect_suback(1).properties.is_empty());
}

/// MQTT311-3.8.3-2: wildcards are supported, so no filter with them is refused.
#[test]
fn mqtt311_3_8_3_2_wildcard_filters_are_granted() {
    let broker = Broker::shared();
    for version in Version::ALL {
        for filter in ["#", "+", "+/#", "/+", "/#", "a/+/b/#", "+/+/+", "a//+"] {
            let mut client = RawClient::join(&broker, version);
            client.send(&Subscribe::new(version, 1).filter(filter, 0).encode());
            let (bytes, _) = client.expect_packet("SUBACK");
            assert_eq!(bytes.last(), Some(&0), "{filter}");
        }
    }
}
