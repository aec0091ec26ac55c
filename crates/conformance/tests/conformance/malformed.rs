//! Bytes that are no MQTT, or only in part: nobody else notices them.

use crate::support::*;

/// Packets of a client that are right, for tests that spoil them.
fn right_packets(version: Version) -> Vec<Vec<u8>> {
    vec![
        Connect::new(version, unique_id())
            .will(Will::new("will", "w"))
            .user_name("u")
            .password("p")
            .encode(),
        Publish::new(version, "spoiled", "payload")
            .qos(1, 1)
            .encode(),
        Subscribe::new(version, 2).filter("spoiled/+", 1).encode(),
        Unsubscribe::new(version, 3).filter("spoiled/+").encode(),
        wire::puback(4),
        wire::pubrec(5),
        wire::pubrel(6),
        wire::pubcomp(7),
        wire::PINGREQ.to_vec(),
        wire::DISCONNECT.to_vec(),
    ]
}

/// The broker still serves: a fresh client hears itself.
#[track_caller]
fn still_serves(broker: &Broker) {
    let topic = unique_topic("serves");
    let mut client = subscriber(broker, Version::V5, &topic, 1);
    client.publish(&topic, "served", 1);
    client.receive_payload("served");
}

/// A sequence of bytes that looks random and is always the same (xorshift).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 8).unwrap() % bound
    }
}

#[test]
fn one_byte_at_a_time_is_understood() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("slow");
        let mut client = RawClient::open(&broker, version);
        for byte in Connect::new(version, unique_id()).encode() {
            client.send(&[byte]);
        }
        assert_eq!(client.expect_connack().code, 0);
        for byte in Subscribe::new(version, 1).filter(&topic, 1).encode() {
            client.send(&[byte]);
        }
        client.expect_suback(1);
        for byte in Publish::new(version, &topic, "x".repeat(300))
            .qos(1, 2)
            .encode()
        {
            client.send(&[byte]);
        }
        client.expect_ack(first::PUBACK, 2);
        client.receive_payload("x".repeat(300));
    }
}

#[test]
fn a_packet_cut_short_does_nothing() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let topic = unique_topic("cut");
        let mut watcher = subscriber(&broker, version, &topic, 1);
        let publish = Publish::new(version, &topic, "half").encode();
        for length in 1..publish.len() {
            let mut client = RawClient::join(&broker, version);
            client.send(&publish[..length]);
            client.cut();
        }
        let connect = Connect::new(version, unique_id()).encode();
        for length in 1..connect.len() {
            let mut client = RawClient::open(&broker, version);
            client.send(&connect[..length]);
            client.cut();
        }
        let mut publisher = RawClient::join(&broker, version);
        nothing_before_marker(&mut publisher, &mut watcher, &topic);
    }
}

/// MQTT5-4.13.1-1, MQTT311-4.8.0-1: a length that ends inside a field, or leaves bytes behind the
/// last one.
#[test]
fn mqtt5_4_13_1_1_wrong_remaining_length_ends_the_connection() {
    let broker = Broker::shared();
    for version in Version::OASIS {
        for packet in [
            Subscribe::new(version, 2).filter("spoiled/+", 1).encode(),
            Unsubscribe::new(version, 3).filter("spoiled/+").encode(),
        ] {
            for wrong in [packet[1] - 1, packet[1] - 3, 1] {
                let mut short = packet[..2 + usize::from(wrong)].to_vec();
                short[1] = wrong;
                let mut client = RawClient::join(&broker, version);
                client.send(&short);
                client.expect_end();
            }
        }
    }
}

/// MQTT5-4.13.1-1, MQTT311-4.8.0-1, MQTT5-1.5.5-1: a remaining length of five bytes.
#[test]
fn mqtt5_1_5_5_1_remaining_length_has_four_bytes_at_most() {
    let broker = Broker::shared();
    for version in Version::ALL {
        let bytes = [first::PUBLISH, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
        closed_without_a_word(&broker, version, &bytes);
        let mut client = RawClient::join(&broker, version);
        client.send(&bytes);
        client.expect_end();
    }
}

/// Before CONNECT nobody may announce a large packet, so nothing is reserved for it.
#[test]
fn large_announcements_before_connect_are_closed() {
    let broker = Broker::shared();
    for bytes in [
        [first::CONNECT, 0xFF, 0xFF, 0xFF, 0x7F],
        [first::CONNECT, 0xC0, 0x9A, 0x8C, 0x01],
    ] {
        closed_without_a_word(&broker, Version::V5, &bytes);
    }
}

#[test]
fn noise_before_connect_harms_nobody() {
    let broker = Broker::shared();
    let mut bystander = RawClient::join(&broker, Version::V3_1_1);
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
    for round in 0..300 {
        let mut bytes: Vec<u8> = (0..=noise.below(200)).map(|_| noise.byte()).collect();
        // Every other one looks like CONNECT at first sight.
        if round % 2 == 0 {
            bytes[0] = first::CONNECT;
        }
        let mut client = RawClient::open(&broker, Version::V5);
        client.send_if_open(&bytes);
        drop(client);
        if round % 50 == 0 {
            bystander.expect_silence_until_pong();
        }
    }
    still_serves(&broker);
    bystander.expect_silence_until_pong();
}

#[test]
fn noise_after_connect_harms_nobody() {
    let broker = Broker::shared();
    let mut bystander = RawClient::join(&broker, Version::V3_1_1);
    let mut noise = Noise(0xD1B5_4A32_D192_ED03);
    for version in Version::ALL {
        for _ in 0..100 {
            let mut client = RawClient::join(&broker, version);
            let bytes: Vec<u8> = (0..=noise.below(300)).map(|_| noise.byte()).collect();
            client.send_if_open(&bytes);
        }
    }
    still_serves(&broker);
    bystander.expect_silence_until_pong();
}

#[test]
fn spoiled_packets_harm_nobody() {
    let broker = Broker::shared();
    let mut bystander = RawClient::join(&broker, Version::V3_1_1);
    let mut noise = Noise(0x2545_F491_4F6C_DD1D);
    for version in Version::ALL {
        for (number, packet) in right_packets(version).into_iter().enumerate() {
            for _ in 0..25 {
                let mut spoiled = packet.clone();
                for _ in 0..=noise.below(3) {
                    let index = noise.below(spoiled.len());
                    spoiled[index] = noise.byte();
                }
                let mut client = if number == 0 {
                    RawClient::open(&broker, version)
                } else {
                    RawClient::join(&broker, version)
                };
                client.send_if_open(&spoiled);
            }
        }
    }
    still_serves(&broker);
    bystander.expect_silence_until_pong();
}

#[test]
fn connections_that_vanish_at_once_harm_nobody() {
    let broker = Broker::shared();
    let mut bystander = RawClient::join(&broker, Version::V5);
    for _ in 0..500 {
        drop(RawClient::open(&broker, Version::V5));
    }
    still_serves(&broker);
    bystander.expect_silence_until_pong();
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    let broker = Broker::shared();
    let topic = unique_topic("flood");
    let mut deaf = subscriber(&broker, Version::V5, &topic, 0);
    let mut publisher = RawClient::join(&broker, Version::V5);
    let payload = vec![b'x'; 20_000];
    // 40 MB: more than the kernel keeps for a connection.
    for number in 0..2000_u16 {
        publisher.publish(&topic, &payload, 0);
        if number % 100 == 0 {
            publisher.expect_silence_until_pong();
        }
    }
    publisher.expect_silence_until_pong();
    still_serves(&broker);
    // What does arrive is whole.
    deaf.receive_payload(&payload);
}
