//! CONNECT and CONNACK.

use midge_broker::Ended;
use midge_codec::{Packet, Property, Version};

use crate::client::{Client, Got};
use crate::cluster::Cluster;

const DEFAULTS: [u8; 11] = [0x22, 0, 10, 0x27, 0, 0x1E, 0x84, 0x80, 0x21, 0, 20];

/// What the broker answers to a CONNECT, byte for byte.
#[track_caller]
fn answer(client: &Client) -> Vec<u8> {
    client.cluster.received(client.token)
}

/// Asserts how a CONNECT is refused: these bytes, and the connection is closed
/// [MQTT5-3.2.2-7], [MQTT311-3.2.2-5].
#[track_caller]
fn expect_refusal(client: &Client, bytes: &[u8]) {
    assert_eq!(answer(client), bytes);
    assert!(client.is_closed());
    assert_eq!(client.cluster.stats().connected, 0);
    assert_eq!(client.cluster.stats().sessions, 0);
    assert_eq!(client.cluster.directory_len(), 0);
}

/// [MQTT5-3.1.4-5], [MQTT311-3.1.4-4], [MQTT5-3.2.2-1], [MQTT5-3.2.2-22]
#[test]
fn a_good_connect_is_answered_with_mosquittos_bytes() {
    for version in Version::ALL {
        let cluster = Cluster::new(1);
        let client = cluster
            .client("a")
            .version(version)
            .keep_alive(60)
            .try_connect();
        let mut expected = vec![0x20, 2, 0, 0];
        if version == Version::V5 {
            expected = vec![0x20, 14, 0, 0, 11];
            expected.extend_from_slice(&DEFAULTS);
        }
        assert_eq!(answer(&client), expected);
    }
}

/// Every property that can be there, in Mosquitto's order [MQTT5-3.2.2-9], [MQTT5-3.2.2-16],
/// [MQTT5-3.1.3-7], [MQTT5-3.2.0-2].
#[test]
fn connack_names_every_limit_in_mosquittos_order() {
    let cluster = Cluster::with(1, |settings| {
        settings.max_keepalive = 100;
        settings.retain_available = false;
        let listener = std::sync::Arc::make_mut(&mut settings.listeners[0]);
        listener.max_qos = midge_codec::QoS::AtLeastOnce;
    });
    let client = cluster.client("").keep_alive(0).connect();
    let names: Vec<_> = client.connack.iter().map(|text| &text[..9]).collect();
    assert_eq!(
        names,
        [
            "ServerKee",
            "TopicAlia",
            "AssignedC",
            "RetainAva",
            "MaximumPa",
            "ReceiveMa",
            "MaximumQo"
        ]
    );
    assert_eq!(client.connack[0], "ServerKeepAlive(100)");
    assert_eq!(client.connack[6], "MaximumQos(1)");
}

#[test]
fn limits_that_are_off_are_not_named() {
    let cluster = Cluster::with(1, |settings| {
        settings.max_packet_size = 0;
        settings.max_inflight_messages = 0;
        let listener = std::sync::Arc::make_mut(&mut settings.listeners[0]);
        listener.max_topic_alias = 0;
    });
    let client = cluster.client("a").try_connect();
    assert_eq!(answer(&client), [0x20, 3, 0, 0, 0]);
}

/// The id has Mosquitto's form and is another one each time [MQTT5-3.1.3-6], [MQTT5-3.2.2-16],
/// [MQTT311-3.1.3-6].
#[test]
fn an_empty_client_id_is_replaced_by_a_new_one() {
    let cluster = Cluster::new(1);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let client = cluster.client("").connect();
        let id = client.connack[1].clone();
        let id = id.strip_prefix("AssignedClientIdentifier(\"auto-").unwrap();
        let id = id.strip_suffix("\")").unwrap().to_owned();
        let groups: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
        assert!(
            id.bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F' | b'-'))
        );
        assert!(!seen.contains(&id));
        seen.push(id);
    }
    cluster.client("").version(Version::V3_1_1).connect();
    assert_eq!(cluster.stats().sessions, 4);
}

/// [MQTT311-3.1.3-8], [MQTT311-3.1.3-9], [MQTT311-3.2.2-4], [MQTT311-3.2.2-5]
#[test]
fn an_empty_client_id_that_is_not_allowed_is_refused() {
    let cluster = Cluster::new(1);
    expect_refusal(
        &cluster
            .client("")
            .version(Version::V3_1_1)
            .resume()
            .try_connect(),
        &[0x20, 2, 0, 2],
    );
    expect_refusal(
        &cluster.client("").version(Version::V3_1).try_connect(),
        &[0x20, 2, 0, 2],
    );
    // In 5.0 a session of an assigned id may be persistent.
    cluster.client("").expiry(10).connect();
    let strict = Cluster::with_listener(1, |listener| {
        listener.allow_zero_length_clientid = false;
    });
    // [MQTT5-3.1.3-8], [MQTT5-3.2.2-6], [MQTT5-3.2.2-8]
    expect_refusal(&strict.client("").try_connect(), &[0x20, 3, 0, 0x80, 0]);
    expect_refusal(
        &strict.client("").version(Version::V3_1_1).try_connect(),
        &[0x20, 2, 0, 2],
    );
}

/// [MQTT5-3.1.2-2], [MQTT311-3.1.2-2]
#[test]
fn a_version_that_the_listener_does_not_speak_is_refused() {
    let cluster = Cluster::with_listener(1, |listener| {
        listener.versions = midge_broker::Versions {
            v3_1: false,
            v3_1_1: false,
            v5: false,
        };
    });
    expect_refusal(&cluster.client("a").try_connect(), &[0x20, 3, 0, 0x84, 0]);
    for version in [Version::V3_1, Version::V3_1_1] {
        let client = cluster.client("a").version(version).try_connect();
        expect_refusal(&client, &[0x20, 2, 0, 1]);
    }
}

#[test]
fn a_client_id_without_one_of_the_prefixes_is_refused() {
    let cluster = Cluster::with(1, |settings| {
        settings.clientid_prefixes = vec!["good-".to_owned(), "fine-".to_owned()];
    });
    expect_refusal(
        &cluster.client("bad-a").try_connect(),
        &[0x20, 3, 0, 0x87, 0],
    );
    expect_refusal(
        &cluster.client("a").version(Version::V3_1_1).try_connect(),
        &[0x20, 2, 0, 5],
    );
    cluster.client("fine-a").connect();
}

/// [MQTT5-3.1.4-2]
#[test]
fn an_anonymous_client_is_refused_when_it_is_not_allowed() {
    let cluster = Cluster::with_listener(1, |listener| listener.allow_anonymous = false);
    expect_refusal(&cluster.client("a").try_connect(), &[0x20, 3, 0, 0x87, 0]);
    for version in [Version::V3_1, Version::V3_1_1] {
        let client = cluster.client("a").version(version).try_connect();
        expect_refusal(&client, &[0x20, 2, 0, 5]);
    }
}

/// [MQTT5-4.12.0-1]
#[test]
fn an_unknown_authentication_method_is_refused() {
    let cluster = Cluster::new(1);
    let method = Property::AuthenticationMethod("SCRAM-SHA-1");
    expect_refusal(
        &cluster.client("a").property(method).try_connect(),
        &[0x20, 3, 0, 0x8C, 0],
    );
}

/// A longer keep alive is shortened in 5.0 [MQTT5-3.2.2-22], and refused in 3.x, which has no way to tell.
#[test]
fn the_keep_alive_is_limited() {
    let cluster = Cluster::with(1, |settings| settings.max_keepalive = 60);
    for (asked, told) in [(0, Some(60)), (60, None), (61, Some(60)), (10, None)] {
        let client = cluster.client("a").keep_alive(asked).connect();
        let said = client.connack[0].strip_prefix("ServerKeepAlive(");
        let said = said.map(|text| text.trim_end_matches(')').parse::<u16>().unwrap());
        assert_eq!(said, told, "{asked}");
        client.cut();
    }
    for asked in [0, 61] {
        let builder = cluster.client("a").version(Version::V3_1_1);
        let client = builder.keep_alive(asked).try_connect();
        expect_refusal(&client, &[0x20, 2, 0, 2]);
    }
    let builder = cluster.client("a").version(Version::V3_1_1);
    builder.keep_alive(60).connect();
}

/// [MQTT5-3.1.2-22], [MQTT311-3.1.2-24]
#[test]
fn silence_for_one_and_a_half_keep_alives_ends_the_connection() {
    for version in Version::ALL {
        for seconds in [2, 10, 60] {
            let cluster = Cluster::new(1);
            let mut watcher = cluster.client("w").connect();
            watcher.subscribe("will", 0);
            let builder = cluster.client("a").version(version).keep_alive(seconds);
            let mut client = builder.will("will", "gone", 0).connect();
            let patience = u64::from(seconds) * 1500;
            // Each packet begins the time anew.
            for _ in 0..3 {
                cluster.advance_millis(patience - 100);
                client.send(&Packet::PingReq);
                assert_eq!(client.take(), [Got::PingResp]);
            }
            cluster.advance_millis(patience - 100);
            assert!(!client.is_closed());
            cluster.advance_millis(200);
            // Without a word, as Mosquitto does it.
            client.expect_closed();
            assert_eq!(watcher.payloads(), ["gone"]);
            assert_eq!(cluster.log_lines("exceeded timeout").len(), 1);
        }
    }
}

#[test]
fn a_keep_alive_of_zero_never_ends_a_connection() {
    let cluster = Cluster::new(1);
    let mut client = cluster.client("a").connect();
    cluster.advance(10_000_000);
    client.expect_nothing();
}

#[test]
fn the_servers_keep_alive_counts_in_place_of_the_clients() {
    let cluster = Cluster::with(1, |settings| settings.max_keepalive = 10);
    let client = cluster.client("a").keep_alive(1000).connect();
    cluster.advance(14);
    assert!(!client.is_closed());
    cluster.advance(2);
    assert!(client.is_closed());
}

#[test]
fn a_connection_that_says_nothing_is_closed_in_time() {
    let cluster = Cluster::new(1);
    let client = cluster.client("a").open();
    let half = cluster.client("b").open();
    half.feed(&cluster.client("b").connect_bytes()[..5]);
    cluster.advance_millis(29_900);
    assert!(!client.is_closed() && !half.is_closed());
    cluster.advance(1);
    assert!(client.is_closed() && half.is_closed());
    cluster.assert_empty();
}

#[test]
fn a_connect_may_come_byte_by_byte() {
    let cluster = Cluster::new(2);
    for version in Version::ALL {
        let builder = cluster.client("a").version(version).user_name("u");
        let mut client = builder.open();
        for byte in builder.connect_bytes() {
            assert_eq!(answer(&client), []);
            client.feed(&[byte]);
        }
        client.expect_connack();
        client.disconnect();
    }
}

/// What is pipelined behind CONNECT is answered behind CONNACK [MQTT5-3.2.0-1], [MQTT311-3.2.0-1]; behind a
/// refused one it is ignored [MQTT5-3.1.4-6], [MQTT311-3.1.4-5].
#[test]
fn packets_behind_connect_wait_for_its_answer() {
    for version in Version::ALL {
        let cluster = Cluster::new(1);
        cluster.hold_claims();
        let mut bytes = cluster.client("a").version(version).connect_bytes();
        bytes.extend_from_slice(&[0xC0, 0, 0xC0, 0]);
        let mut client = cluster.client("a").version(version).open();
        client.feed(&bytes);
        assert_eq!(client.take(), []);
        cluster.answer_claims();
        client.expect_connack();
        assert_eq!(client.take(), [Got::PingResp, Got::PingResp]);
        client.disconnect();
        let closed = Cluster::with_listener(1, |listener| listener.allow_anonymous = false);
        let client = closed.client("a").version(version).open();
        client.feed(&bytes);
        assert!(answer(&client).len() <= 5);
        assert!(client.is_closed());
    }
}

/// [MQTT5-3.1.0-2], [MQTT311-3.1.0-2]: a second CONNECT is a protocol error, and so the will is published.
#[test]
fn a_second_connect_closes_the_connection_and_publishes_the_will() {
    for version in Version::ALL {
        let cluster = Cluster::new(1);
        let mut watcher = cluster.client("w").connect();
        watcher.subscribe("will", 0);
        let builder = cluster.client("a").version(version).will("will", "x", 0);
        let mut client = builder.connect();
        client.feed(&builder.connect_bytes());
        client.expect_closed();
        assert_eq!(watcher.payloads(), ["x"]);
    }
}

/// [MQTT5-3.1.4-1], [MQTT311-3.1.4-1], [MQTT5-3.14.0-1]
#[test]
fn a_first_packet_that_is_not_connect_is_not_answered() {
    let firsts: [&[u8]; 5] = [
        &[0xC0, 0],
        &[0x30, 3, 0, 1, b't'],
        &[0xE0, 0],
        &[0xF0, 0],
        &[0x16, 3, 1, 0, 0],
    ];
    for first in firsts {
        let cluster = Cluster::new(1);
        let mut client = cluster.client("a").open();
        client.feed(first);
        client.expect_closed();
        cluster.assert_empty();
    }
}

#[test]
fn one_client_too_many_is_refused() {
    let cluster = Cluster::new(1);
    cluster.set_clients_max(1);
    let first = cluster.client("a").connect();
    let client = cluster.client("b").try_connect();
    assert_eq!(answer(&client), [0x20, 3, 0, 0x89, 0]);
    assert!(client.is_closed());
    let client = cluster.client("b").version(Version::V3_1_1).try_connect();
    assert_eq!(answer(&client), []);
    assert!(client.is_closed());
    // The one who is there may come again.
    let again = cluster.client("a").connect();
    assert!(first.is_closed());
    again.cut();
    cluster.client("b").connect();
}

/// [MQTT5-3.1.2-24]
#[test]
fn a_connack_that_the_client_cannot_take_is_not_sent() {
    let cluster = Cluster::new(1);
    let size = |bytes| {
        cluster
            .client("a")
            .property(Property::MaximumPacketSize(bytes))
    };
    let mut client = size(15).try_connect();
    client.expect_closed();
    cluster.assert_empty();
    size(16).connect();
}

/// A claim that is answered when nobody waits any more leaves no client id behind.
#[test]
fn a_claim_whose_connection_has_gone_is_given_back() {
    for other_waits in [false, true] {
        let cluster = Cluster::new(2);
        cluster.hold_claims();
        let gone = cluster.client("a").try_connect();
        let waits = other_waits.then(|| cluster.client("a").try_connect());
        gone.cut();
        cluster.answer_claims();
        if let Some(mut waits) = waits {
            waits.expect_connack();
            assert_eq!(cluster.directory_len(), 1);
            let other = cluster.client("a").shard(1).connect();
            assert_eq!(cluster.shard_of(other.token), 0, "one home for a client id");
            assert!(waits.is_closed());
            other.cut();
        }
        cluster.assert_empty();
    }
}

#[test]
fn a_connection_that_fails_is_logged_with_what_failed() {
    let cluster = Cluster::new(1);
    let client = cluster
        .client("dev")
        .user_name("kim")
        .keep_alive(7)
        .connect();
    assert_eq!(
        cluster.log_lines("New client"),
        ["New client connected from 127.0.0.1:40000 as dev (p5, c1, k7, u'kim')."]
    );
    cluster.end(
        client.token,
        &Ended::Error("Connection reset by peer".to_owned()),
    );
    let lines = cluster.log_lines("disconnected");
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("dev") && lines[0].contains("Connection reset by peer"));
    cluster.assert_empty();
}

#[test]
fn many_connections_that_come_and_go_leave_nothing() {
    let cluster = Cluster::new(1);
    for round in 0..2_000 {
        let builder = cluster
            .client("a")
            .keep_alive(65_535)
            .expiry(1_000_000 - round);
        let client = builder.connect();
        client.cut();
        if round % 100 == 0 {
            cluster.advance_millis(100);
        }
    }
    assert_eq!(cluster.stats().sessions, 1);
    cluster.client("a").connect().disconnect();
    cluster.assert_empty();
}
