//! Subscriptions of one client that match the same topic.

use midge_codec::Version;

use crate::cluster::Cluster;

/// Mosquitto's default: a copy for each, with its own QoS and identifier [MQTT5-3.3.4-5].
#[test]
fn each_matching_subscription_gets_its_copy() {
    for shards in [1, 2] {
        let cluster = Cluster::new(shards);
        let mut client = cluster.client("a").connect();
        client.subscribe_to(&[("t/+", 0)], 1);
        client.subscribe_to(&[("#", 1)], 2);
        client.subscribe_to(&[("t/x", 2)], 3);
        let mut publisher = cluster.client("p").shard(shards - 1).connect();
        publisher.publish("t/x", "x", 2);
        let mut copies: Vec<_> = client
            .messages()
            .iter()
            .map(|message| (message.ids.clone(), message.qos))
            .collect();
        copies.sort();
        assert_eq!(copies, [(vec![1], 0), (vec![2], 1), (vec![3], 2)]);
    }
}

/// One copy with the highest QoS and all identifiers [MQTT5-3.3.4-2], [MQTT5-3.3.4-3], [MQTT5-3.3.4-4],
/// [MQTT311-3.3.5-1].
#[test]
fn without_duplicates_one_copy_has_the_highest_qos_and_all_identifiers() {
    for shards in [1, 2] {
        for version in Version::ALL {
            let without = |settings: &mut midge_broker::Settings| {
                settings.allow_duplicate_messages = false;
            };
            let cluster = Cluster::with(shards, without);
            let mut client = cluster.client("a").version(version).connect();
            let id = |id| if version == Version::V5 { id } else { 0 };
            client.subscribe_to(&[("t/+", 0)], id(1));
            client.subscribe_to(&[("t/x", 2)], id(3));
            client.subscribe_to(&[("#", 1)], id(2));
            client.subscribe_to(&[("t/#", 1)], 0);
            let mut publisher = cluster.client("p").shard(shards - 1).connect();
            for qos in 0..=2 {
                publisher.publish("t/x", "x", qos);
                let message = client.message_alone();
                assert_eq!(message.qos, qos);
                let ids: &[u32] = if version == Version::V5 {
                    &[1, 2, 3]
                } else {
                    &[]
                };
                assert_eq!(message.ids, ids);
            }
        }
    }
}

#[test]
fn without_duplicates_no_local_takes_one_subscription_out() {
    let cluster = Cluster::with(1, |settings| settings.allow_duplicate_messages = false);
    let mut client = cluster.client("a").connect();
    client.subscribe_to(&[("t", 0b110)], 1);
    client.subscribe_to(&[("#", 0b001)], 2);
    client.publish("t", "x", 2);
    let message = client.message_alone();
    assert_eq!((message.qos, &*message.ids), (1, &[2][..]));
}

#[test]
fn without_duplicates_one_copy_keeps_retain_if_a_subscription_wants_it() {
    let cluster = Cluster::with(1, |settings| settings.allow_duplicate_messages = false);
    let mut client = cluster.client("a").connect();
    client.subscribe_to(&[("t", 0b0000), ("#", 0b1000)], 0);
    let mut publisher = cluster.client("p").connect();
    publisher.retain("t", "x", 0);
    assert!(client.message_alone().retain);
}

/// A shared copy comes beside.
#[test]
fn a_shared_subscription_is_apart_from_the_others() {
    let cluster = Cluster::with(1, |settings| settings.allow_duplicate_messages = false);
    let mut client = cluster.client("a").connect();
    client.subscribe_to(&[("t", 1), ("#", 1), ("$share/g/t", 1)], 0);
    client.publish("t", "x", 1);
    assert_eq!(client.payloads(), ["x", "x"]);
}
