//! What all chapters use.

use std::time::{Duration, Instant};

pub(crate) use midge_conformance::wire::{self, Will, first, option, prop};
pub(crate) use midge_conformance::{
    Broker, Connect, Packet, Publish, RawClient, Subscribe, Unsubscribe, Version, unique_id,
    unique_topic,
};

/// Patience with what a broker may look at every few seconds only, like keep alive and expiry.
pub(crate) const LONG: Duration = Duration::from_secs(15);

/// Connects a client, sends `bytes`, and expects to be thrown out: in 5.0 with DISCONNECT `reason`.
#[track_caller]
pub(crate) fn thrown_out(broker: &Broker, version: Version, bytes: &[u8], reason: u8) {
    let mut client = RawClient::join(broker, version);
    client.send(bytes);
    client.expect_thrown_out(reason);
}

/// Sends `bytes` on a fresh connection and expects that it ends without a byte.
#[track_caller]
pub(crate) fn closed_without_a_word(broker: &Broker, version: Version, bytes: &[u8]) {
    let mut client = RawClient::open(broker, version);
    client.send(bytes);
    client.expect_closed();
}

/// Sends CONNECT bytes and expects a CONNACK of exactly these bytes, then the end.
#[track_caller]
pub(crate) fn refused(broker: &Broker, version: Version, connect: &[u8], connack: &[u8]) {
    let mut client = RawClient::open(broker, version);
    client.send(connect);
    client.expect_bytes(connack);
    client.expect_closed();
}

/// The CONNACK with which Mosquitto refuses: `v5` in 5.0 and `v3` in 3.1 and 3.1.1.
pub(crate) fn refusal(version: Version, v5: u8, v3: u8) -> Vec<u8> {
    if version.is_v5() {
        vec![first::CONNACK, 3, 0, v5, 0]
    } else {
        vec![first::CONNACK, 2, 0, v3]
    }
}

/// A connected subscriber to one filter.
#[track_caller]
pub(crate) fn subscriber(
    broker: &Broker,
    version: Version,
    filter: &str,
    options: u8,
) -> RawClient {
    let mut client = RawClient::join(broker, version);
    let granted = client.subscribe(filter, options);
    assert_eq!(granted, options & 3, "granted QoS of {filter}");
    client
}

/// Publishes a marker that `watcher` is subscribed to and expects it as the very next message.
///
/// A message published before the marker by the same client would have come first.
#[track_caller]
pub(crate) fn nothing_before_marker(
    publisher: &mut RawClient,
    watcher: &mut RawClient,
    topic: &str,
) {
    publisher.publish(topic, "marker", 1);
    watcher.receive_payload("marker");
}

/// A 5.0 client that takes packets as large as its CONNACK and no larger, so that hardly any text
/// fits into an acknowledgement.
#[track_caller]
pub(crate) fn smallest_client(broker: &Broker) -> RawClient {
    let connect = Connect::new(Version::V5, unique_id());
    let mut client = RawClient::open(broker, Version::V5);
    client.send(&connect.encode());
    let (connack, _) = client.expect_packet("CONNACK");
    client.disconnect();
    let limit = u32::try_from(connack.len()).unwrap();
    RawClient::connect(broker, &connect.with(prop::maximum_packet_size(limit))).0
}

/// Repeats `probe` until it gives something, for at most ten seconds.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until messages that were published before this call with an expiry of at most `secs`
/// have expired.
///
/// A retained message that expires a second later tells when it is time.
#[track_caller]
pub(crate) fn until_expired(broker: &Broker, secs: u32) {
    let topic = unique_topic("clock");
    let mut client = RawClient::join(broker, Version::V5);
    let clock = Publish::new(Version::V5, &topic, "tick")
        .retained()
        .with(prop::message_expiry(secs + 1));
    client.publish_packet(clock, 1);
    eventually("expiry of a retained message", || {
        let id = client.fresh_packet_id();
        client.send(&Subscribe::new(Version::V5, id).filter(&topic, 0).encode());
        client.expect_suback(id);
        client.send(&wire::PINGREQ);
        match client.expect_packet("a retained message or PINGRESP").1 {
            Packet::Pingresp => Some(()),
            _ => {
                client.expect_packet("PINGRESP");
                None
            }
        }
    });
}
