//! The broker's end.

use midge_codec::{QoS, ReasonCode};
use midge_server::Ending;

use crate::client::{Broker, Came, Client, V3, hello, local_config, publish, will};

#[test]
fn clients_of_5_0_are_told_that_the_server_shuts_down() {
    let broker = Broker::start(4);
    let mut new: Vec<_> = (0..6)
        .map(|n| broker.connect_v5(&format!("v5-{n}")))
        .collect();
    let mut old: Vec<_> = (0..6).map(|n| broker.connect(&format!("v3-{n}"))).collect();
    assert_eq!(broker.handle.shut_down(), Ending::Asked);
    for client in &mut new {
        assert_eq!(
            client.next(),
            Came::Disconnect(ReasonCode::SERVER_SHUTTING_DOWN.0)
        );
        client.expect_end();
    }
    for client in &mut old {
        client.expect_end();
    }
    assert!(std::net::TcpStream::connect(broker.address).is_err());
}

#[test]
fn what_waits_for_clients_is_sent_before_the_end() {
    let broker = Broker::with(1, "outbox_bytes_max 100000000\n");
    let mut reader = broker.connect("reader");
    reader.subscribe("t", QoS::AtMostOnce);
    let mut publisher = broker.connect("publisher");
    let payload = vec![0; 100_000];
    for _ in 0..100 {
        publisher.send(&publish("t", &payload, QoS::AtMostOnce, 0));
    }
    publisher.publish("other", b"", QoS::AtLeastOnce, 1);
    let reading = std::thread::spawn(move || {
        for _ in 0..100 {
            assert_eq!(reader.take().1.len(), 100_000);
        }
        reader.expect_end();
    });
    assert_eq!(broker.handle.shut_down(), Ending::Asked);
    reading.join().unwrap();
}

#[test]
fn a_client_that_never_reads_does_not_hold_up_the_end() {
    let broker = Broker::with(2, "outbox_bytes_max 100000000\n");
    let mut stuck = broker.connect("stuck");
    stuck.subscribe("t", QoS::AtMostOnce);
    let mut publisher = broker.connect("publisher");
    let payload = vec![0; 1_000_000];
    for _ in 0..30 {
        publisher.send(&publish("t", &payload, QoS::AtMostOnce, 0));
    }
    publisher.publish("other", b"", QoS::AtLeastOnce, 1);
    assert_eq!(broker.handle.shut_down(), Ending::Asked);
}

#[test]
fn wills_are_published_at_the_end() {
    let broker = Broker::start(1);
    let mut listener = broker.connect("listener");
    listener.subscribe("will", QoS::AtMostOnce);
    let mut connect = hello(V3, "mortal");
    connect.will = Some(will("will", b"over"));
    let (_mortal, _) = Client::open(broker.address, &connect);
    assert_eq!(broker.handle.shut_down(), Ending::Asked);
    assert_eq!(listener.take().1, b"over");
}

#[test]
fn dropping_the_handle_ends_the_broker() {
    let broker = Broker::start(2);
    let mut client = broker.connect("client");
    drop(broker);
    client.expect_end();
}

#[test]
fn without_a_configuration_both_families_are_served_to_this_machine() {
    // A machine without IPv6 has one address only; the system chose a port for each.
    let broker = Broker::from(local_config());
    for address in broker.handle.addresses() {
        let midge_server::BindAddress::Ip(address) = address else {
            panic!("{address}");
        };
        assert!(address.ip().is_loopback());
        Client::connect(address, V3, "local").expect_silence();
    }
}
