//! What happens between packets and bytes.

use std::io::{Read, Write};

use midge_codec::{Packet, QoS};

use crate::client::{Broker, Came, Client, PATIENCE, V3, V5, hello, publish};

#[test]
fn packets_may_come_byte_by_byte() {
    let broker = Broker::start(2);
    let mut listener = broker.connect("listener");
    listener.subscribe("slow", QoS::AtLeastOnce);
    let mut client = Client::new(broker.tcp(), V5);
    let mut bytes = client.bytes(&Packet::Connect(hello(V5, "slow")));
    bytes.extend(client.bytes(&publish("slow", b"byte by byte", QoS::AtLeastOnce, 1)));
    bytes.extend(client.bytes(&Packet::PingReq));
    for byte in bytes {
        client.stream.write_all(&[byte]).unwrap();
    }
    assert!(matches!(client.next(), Came::ConnAck { reason: 0, .. }));
    assert!(matches!(
        client.next(),
        Came::Ack(midge_codec::AckKind::PubAck, 1, 0)
    ));
    assert_eq!(client.next(), Came::Pong);
    assert_eq!(
        listener.take(),
        ("slow".to_owned(), b"byte by byte".to_vec())
    );
}

#[test]
fn packets_may_be_cut_anywhere() {
    let broker = Broker::start(1);
    let mut client = broker.connect("cutter");
    client.subscribe("cut", QoS::AtMostOnce);
    let payload: Vec<u8> = (0..=255).cycle().take(300).collect();
    let mut bytes = Vec::new();
    for _ in 0..3 {
        bytes.extend(client.bytes(&publish("cut", &payload, QoS::AtMostOnce, 0)));
    }
    for cut in 1..bytes.len() {
        client.stream.write_all(&bytes[..cut]).unwrap();
        client.stream.write_all(&bytes[cut..]).unwrap();
        for _ in 0..3 {
            assert_eq!(client.take().1, payload);
        }
    }
}

#[test]
fn a_payload_of_three_megabytes_arrives_whole_on_another_worker() {
    let broker = Broker::with(2, "max_packet_size 4000000\noutbox_bytes_max 8000000\n");
    let mut one = broker.connect("one");
    let mut two = broker.connect("two");
    let payload: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
    for qos in crate::client::QOS {
        one.subscribe("big", qos);
        two.publish("big", &payload, qos, 9);
        let (_, came) = one.take();
        assert!(came == payload);
    }
}

#[test]
fn a_packet_that_is_too_large_ends_its_connection_with_0x95() {
    let broker = Broker::with(1, "max_packet_size 1000\n");
    let mut client = broker.connect_v5("large");
    let packet = client.bytes(&publish("a", &[0; 2000], QoS::AtMostOnce, 0));
    // The header alone says so.
    client.stream.write_all(&packet[..10]).unwrap();
    assert_eq!(client.next(), Came::Disconnect(0x95));
    client.expect_end();
}

#[test]
fn the_last_packet_is_read_by_a_client_that_had_more_to_say() {
    let broker = Broker::start(1);
    for n in 0..50 {
        let mut client = broker.connect_v5(&format!("talker-{n}"));
        // A second CONNECT is a protocol error; what follows it stays unread.
        let mut bytes = client.bytes(&publish("a", b"", QoS::AtMostOnce, 0));
        bytes[0] |= 0x06;
        bytes.extend([0; 40_000]);
        client.stream.write_all(&bytes).unwrap();
        assert_eq!(client.next(), Came::Disconnect(0x81));
        client.expect_end();
    }
}

#[test]
fn a_client_that_never_reads_costs_bounded_memory_and_nobody_else_notices() {
    let broker = Broker::with(2, "outbox_bytes_max 100000\n");
    let mut stuck = broker.connect("stuck");
    stuck.subscribe("flood", QoS::AtMostOnce);
    let mut reader = broker.connect("reader");
    reader.subscribe("end", QoS::AtMostOnce);
    let mut publisher = broker.connect("publisher");
    let payload = vec![1; 50_000];
    // More than the sockets' own buffers hold.
    for _ in 0..400 {
        publisher.send(&publish("flood", &payload, QoS::AtMostOnce, 0));
    }
    publisher.publish("end", b"done", QoS::AtLeastOnce, 1);
    assert_eq!(reader.take().1, b"done");
    // It gets what was kept for it, far less than what was sent, and can go on.
    stuck.send(&Packet::PingReq);
    let mut messages = 0;
    while let Came::Publish { payload, .. } = stuck.next() {
        assert_eq!(payload.len(), 50_000);
        messages += 1;
    }
    assert!(messages < 400, "nothing was dropped");
    publisher.publish("flood", b"again", QoS::AtLeastOnce, 2);
    assert_eq!(stuck.take().1, b"again");
}

#[test]
fn a_slow_reader_gets_everything_at_qos_1() {
    let broker = Broker::with(2, "max_queued_messages 0\nmax_queued_bytes 0\n");
    let mut slow = broker.connect("slow");
    slow.subscribe("much", QoS::AtLeastOnce);
    let mut publisher = broker.connect("publisher");
    let payload = vec![7; 20_000];
    for id in 1..=500 {
        publisher.publish("much", &payload, QoS::AtLeastOnce, id);
    }
    for _ in 0..500 {
        assert_eq!(slow.take().1, payload);
    }
    slow.expect_silence();
}

#[test]
fn half_closed_connections_are_answered_before_they_end() {
    let broker = Broker::start(1);
    let mut client = Client::new(broker.tcp(), V3);
    let mut bytes = client.bytes(&Packet::Connect(hello(V3, "half")));
    bytes.extend(client.bytes(&Packet::PingReq));
    client.stream.write_all(&bytes).unwrap();
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(matches!(client.next(), Came::ConnAck { reason: 0, .. }));
    assert_eq!(client.next(), Came::Pong);
    client.expect_end();
}

#[test]
fn a_connection_that_says_nothing_is_closed_in_time() {
    let broker = Broker::with(1, "connect_timeout 1\n");
    let mut stream = broker.tcp();
    let mut byte = [0];
    assert_eq!(stream.read(&mut byte).unwrap(), 0);
}

#[test]
fn garbage_is_closed_without_a_word() {
    let broker = Broker::start(2);
    let mut random = 0x2545_F491_u32;
    for length in 1..200 {
        let mut stream = broker.tcp();
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 24) as u8
            })
            .collect();
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() <= 5, "{rest:?}");
    }
    broker.connect("well").expect_silence();
}

#[test]
fn many_connections_come_and_go_at_once() {
    let broker = Broker::start(2);
    let address = broker.address;
    let threads: Vec<_> = (0..4)
        .map(|t| {
            std::thread::spawn(move || {
                for n in 0..250 {
                    let stream = std::net::TcpStream::connect(address).unwrap();
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    match n % 3 {
                        // Gone before it has said anything.
                        0 => drop(stream),
                        1 => {
                            let mut client = Client::new(stream, V3);
                            client.send(&Packet::Connect(hello(V3, &format!("{t}-{n}"))));
                        }
                        _ => {
                            let mut client = Client::new(stream, V3);
                            client.send(&Packet::Connect(hello(V3, &format!("{t}-{n}"))));
                            client.next();
                            client.disconnect();
                        }
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let mut client = broker.connect("last");
    client.subscribe("$SYS/#", QoS::AtMostOnce);
    client.expect_silence();
}
