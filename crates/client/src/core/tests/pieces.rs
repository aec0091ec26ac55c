//! Packets as a connection brings them: in pieces of any size.

use super::*;

const TOPICS: [&str; 3] = ["a/topic", "a/topic", "another/one"];

/// A broker that has sent `count` messages of all kinds and sizes, which the client has not read.
fn world_with_messages(terms: StreamTerms, count: usize) -> (World, StreamKey, Vec<String>) {
    let mut world = World::connected(options());
    let (key, _) = world.subscribe_with(&["#"], terms);
    world.settle();
    let mut sent = Vec::new();
    for number in 0..count {
        let text = format!("{number}{}", "x".repeat(number * 7 % 600));
        let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][number % 3];
        world.peer.send(TOPICS[number / 2 % 3], &text, qos);
        sent.push(text);
    }
    (world, key, sent)
}

/// Brings what the broker has sent in pieces of `size` bytes.
fn bring(world: &mut World, size: usize) {
    let down = mem::take(&mut world.peer.outbound);
    for piece in down.chunks(size) {
        world.core.received(world.now, piece);
    }
}

#[test]
fn messages_are_the_same_in_whatever_pieces_they_come() {
    for size in (1..40).chain([163, 164, 165, 1000, 5000, 1 << 20]) {
        let (mut world, key, sent) = world_with_messages(TERMS, 60);
        bring(&mut world, size);
        assert_eq!(world.texts(key), sent, "in pieces of {size}");
        world.settle();
        assert!(world.peer.is_finished());
    }
}

#[test]
fn messages_that_wait_for_room_in_a_stream_are_the_same_in_whatever_pieces_they_come() {
    let small = StreamTerms {
        capacity: 3,
        ..TERMS
    };
    for size in [1, 7, 100, 1000, 1 << 20] {
        let (mut world, key, sent) = world_with_messages(small, 60);
        bring(&mut world, size);
        let got = world.texts(key);
        assert_eq!(got, sent, "in pieces of {size}");
        world.settle();
        assert!(world.peer.is_finished());
    }
}

#[test]
fn memory_for_a_packet_in_pieces_is_given_back() {
    let mut world = World::connected(options());
    let (key, _) = world.subscribe("#");
    world.settle();
    let large = "x".repeat(100_000);
    world.peer.send("a/topic", &large, QoS::AtMostOnce);
    bring(&mut world, 1000);
    let link = world.core.link.as_ref().unwrap();
    assert!(link.unread.capacity() <= 1024);
    assert_eq!(world.texts(key), [large]);
}
