//! Another configuration while the broker runs.

use std::io::Read;
use std::net::TcpListener;

use midge_codec::{Packet, QoS};
use midge_server::config::{Config, Endpoint};
use midge_server::{BindAddress, ServerHandle};

use crate::client::{Broker, Came, Client, V3, V5, config, eventually, hello, tcp};

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn two_listeners(port: u16) -> Config {
    let mut config = config(2, "");
    let mut second = config.listeners[0].clone();
    second.endpoint = Endpoint::tcp(Some("127.0.0.1"), port);
    config.listeners.push(second);
    config
}

fn ports(handle: &ServerHandle) -> Vec<u16> {
    let port = |address: &BindAddress| address.port().unwrap();
    handle.addresses().iter().map(port).collect()
}

#[test]
fn listeners_come_and_go_and_their_clients_stay() {
    let broker = Broker::start(2);
    let mut first = broker.connect("first");
    let port = free_port();

    broker.handle.reload(two_listeners(port)).unwrap();
    assert_eq!(ports(&broker.handle), [broker.address.port(), port]);
    let second_address = ([127, 0, 0, 1], port).into();
    let mut second = Client::connect(second_address, V5, "second");
    second.subscribe("t", QoS::AtMostOnce);
    first.publish("t", b"across", QoS::AtLeastOnce, 1);
    assert_eq!(second.take().1, b"across");

    broker.handle.reload(config(2, "")).unwrap();
    assert_eq!(ports(&broker.handle), [broker.address.port()]);
    assert!(std::net::TcpStream::connect(second_address).is_err());
    first.publish("t", b"still", QoS::AtLeastOnce, 2);
    assert_eq!(second.take().1, b"still");
}

#[test]
fn a_listener_that_cannot_be_opened_changes_nothing() {
    let broker = Broker::with(2, "max_qos 1\n");
    let mut client = broker.connect("client");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = broker.handle.reload(two_listeners(port)).unwrap_err();
    assert!(error.to_string().contains("already in use"), "{error}");
    assert_eq!(ports(&broker.handle), [broker.address.port()]);
    client.expect_silence();
    // The listener's other settings are the old ones as well.
    let mut late = broker.connect_v5("late");
    late.send(&crate::client::publish("t", b"", QoS::ExactlyOnce, 1));
    assert_eq!(late.next(), Came::Disconnect(0x9B));
}

#[test]
fn a_failed_reload_opens_again_what_it_had_closed() {
    let broker = Broker::start(1);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut new = config(1, "");
    new.listeners[0].endpoint =
        Endpoint::tcp(Some("127.0.0.1"), taken.local_addr().unwrap().port());
    broker.handle.reload(new).unwrap_err();
    let address = crate::client::first_address(&broker.handle);
    Client::connect(address, V3, "well").expect_silence();
}

#[test]
fn limits_change_without_disconnecting_anyone() {
    let broker = Broker::start(2);
    let mut old = broker.connect_v5("old");
    let mut new = config(2, "max_connections 1\n");
    new.general.max_packet_size = 500;
    broker.handle.reload(new).unwrap();
    old.expect_silence();
    assert_eq!(tcp(broker.address).read(&mut [0]).unwrap(), 0);
    broker.handle.reload(config(2, "")).unwrap();
    broker.connect("late").expect_silence();
}

#[test]
fn who_is_no_longer_allowed_is_disconnected_by_a_reload() {
    let broker = Broker::start(2);
    let mut clients: Vec<_> = (0..4).map(|n| broker.connect(&format!("c{n}"))).collect();
    broker
        .handle
        .reload(config(2, "allow_anonymous false\n"))
        .unwrap();
    for client in &mut clients {
        client.expect_end();
    }
    let mut refused = Client::new(broker.tcp(), V5);
    refused.send(&Packet::Connect(hello(V5, "refused")));
    assert!(matches!(refused.next(), Came::ConnAck { reason: 0x87, .. }));
    broker.handle.reload(config(2, "")).unwrap();
    eventually(|| Some(broker.connect("welcome"))).expect_silence();
}

#[test]
fn a_removed_unix_socket_takes_its_file_along() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("midge.sock");
    let mut with_unix = config(1, "");
    let mut unix = with_unix.listeners[0].clone();
    unix.endpoint = Endpoint::Unix { path: path.clone() };
    with_unix.listeners.push(unix);
    let broker = Broker::from(with_unix);
    assert!(path.exists());
    broker.handle.reload(config(1, "")).unwrap();
    assert!(!path.exists());
}
