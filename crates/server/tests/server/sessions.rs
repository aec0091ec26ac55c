//! Sessions and the workers that they live on.

use midge_codec::{Packet, Property, QoS, ReasonCode};

use crate::client::{Broker, Came, Client, V3, V5, hello, persistent, publish, will};

#[test]
fn a_session_is_resumed_on_whatever_worker_its_client_comes_back() {
    let broker = Broker::start(4);
    let expiry = [Property::SessionExpiryInterval(1000)];
    let connect = persistent("resumer", &expiry);
    let (mut client, present) = Client::open(broker.address, &connect);
    assert!(!present);
    client.subscribe("kept/#", QoS::AtLeastOnce);
    drop(client);
    let mut publisher = broker.connect("publisher");
    // Each round, the connection is placed on the next worker, and moves to the session's.
    for round in 0..12_u8 {
        publisher.publish("kept/x", &[round], QoS::AtLeastOnce, 1);
        let (mut client, present) = Client::open(broker.address, &connect);
        assert!(present);
        assert_eq!(client.take(), ("kept/x".to_owned(), vec![round]));
        client.expect_silence();
        let bytes = client.bytes(&Packet::Disconnect(midge_codec::Disconnect::new(
            ReasonCode::SUCCESS,
        )));
        std::io::Write::write_all(&mut client.stream, &bytes).unwrap();
        client.expect_end();
    }
}

#[test]
fn a_take_over_reaches_the_old_connection_on_any_worker() {
    let broker = Broker::start(4);
    let mut old = broker.connect_v5("twin");
    for _ in 0..9 {
        let new = broker.connect_v5("twin");
        assert_eq!(
            old.next(),
            Came::Disconnect(ReasonCode::SESSION_TAKEN_OVER.0)
        );
        old.expect_end();
        old = new;
    }
    old.expect_silence();
}

#[test]
fn bytes_sent_right_behind_connect_move_with_the_connection() {
    let broker = Broker::start(4);
    let mut listener = broker.connect("listener");
    listener.subscribe("moved", QoS::AtMostOnce);
    for round in 0..8_u8 {
        // The session of the first round makes the others move to its worker.
        let connect = persistent("mover", &[Property::SessionExpiryInterval(1000)]);
        let mut client = Client::new(broker.tcp(), V5);
        let mut bytes = client.bytes(&Packet::Connect(connect));
        bytes.extend(client.bytes(&publish("moved", &[round], QoS::AtLeastOnce, 5)));
        // Half of a packet goes along, too.
        let ping = client.bytes(&Packet::PingReq);
        bytes.push(ping[0]);
        std::io::Write::write_all(&mut client.stream, &bytes).unwrap();
        assert_eq!(listener.take(), ("moved".to_owned(), vec![round]));
        assert!(matches!(client.next(), Came::ConnAck { reason: 0, .. }));
        assert!(matches!(
            client.next(),
            Came::Ack(midge_codec::AckKind::PubAck, 5, 0)
        ));
        std::io::Write::write_all(&mut client.stream, &ping[1..]).unwrap();
        assert_eq!(client.next(), Came::Pong);
        client.disconnect();
    }
}

#[test]
fn clients_that_fight_for_an_id_from_all_sides_leave_one_behind() {
    let broker = Broker::start(4);
    let address = broker.address;
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                for _ in 0..100 {
                    let mut client = Client::new(crate::client::tcp(address), V3);
                    client.send(&Packet::Connect(hello(V3, "contended")));
                    // A rival may be faster than the answer.
                    let _ = client.try_next();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let mut last = broker.connect("contended");
    last.expect_silence();
    // The directory has not forgotten who it is: the next one takes over.
    let mut next = broker.connect("contended");
    last.expect_end();
    next.expect_silence();
}

#[test]
fn a_will_reaches_subscribers_on_other_workers() {
    let broker = Broker::start(2);
    let mut one = broker.connect("one");
    let mut two = broker.connect("two");
    for client in [&mut one, &mut two] {
        client.subscribe("will", QoS::AtMostOnce);
    }
    let mut connect = hello(V3, "mortal");
    connect.will = Some(will("will", b"gone"));
    let (mortal, _) = Client::open(broker.address, &connect);
    drop(mortal);
    for client in [&mut one, &mut two] {
        assert_eq!(client.take(), ("will".to_owned(), b"gone".to_vec()));
    }
}

#[test]
fn a_disconnect_sent_before_the_connection_broke_is_heeded() {
    let broker = Broker::start(2);
    let mut listener = broker.connect("listener");
    listener.subscribe("#", QoS::AtMostOnce);
    for round in 0..20_u16 {
        let mut connect = hello(V3, "hasty");
        connect.will = Some(will("will", b"wrong"));
        let (mut hasty, _) = Client::open(broker.address, &connect);
        let mut bytes = Vec::new();
        for id in 1..=500 {
            bytes.extend(hasty.bytes(&publish("work", &round.to_be_bytes(), QoS::AtLeastOnce, id)));
        }
        let end = midge_codec::Disconnect::new(ReasonCode::SUCCESS);
        bytes.extend(hasty.bytes(&Packet::Disconnect(end)));
        std::io::Write::write_all(&mut hasty.stream, &bytes).unwrap();
        // Acknowledgements that nobody reads make the system reset the connection.
        drop(hasty);
        for _ in 0..500 {
            assert_eq!(listener.take().1, round.to_be_bytes());
        }
    }
    listener.expect_silence();
}
