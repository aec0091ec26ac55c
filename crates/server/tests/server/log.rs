//! What the broker says about it, on paper and on topics.

use std::fs;

use midge_codec::QoS;

use crate::client::{Broker, Client, V5, config, eventually};

fn logged_to(path: &std::path::Path, options: &str) -> midge_server::config::Config {
    let path = path.display();
    let text = format!("log_dest file {path}\nlog_timestamp false\nlog_type all\n{options}");
    let mut config = config(1, "");
    let log = midge_server::config::Config::parse(&text, "log.conf").unwrap();
    config.general.log = log.general.log;
    config
}

#[test]
fn the_lines_that_other_programs_read_are_mosquittos() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("midge.log");
    let broker = Broker::from(logged_to(&path, ""));
    let port = broker.address.port();
    let mut client = Client::connect(broker.address, V5, "somebody");
    let peer = client.stream.local_addr().unwrap();
    client.subscribe("a/b", QoS::AtLeastOnce);
    client.disconnect();
    let dropped = broker.connect("dropped");
    let dropped_peer = dropped.stream.local_addr().unwrap();
    drop(dropped);
    let expected = [
        format!("Opening ipv4 listen socket on port {}.", 0),
        format!("New connection from {peer} on port {port}."),
        format!("New client connected from {peer} as somebody (p5, c1, k0)."),
        "somebody 1 a/b".to_owned(),
        format!("Client somebody [{peer}] disconnected."),
        format!("Client dropped [{dropped_peer}] disconnected: connection closed by client."),
    ];
    let text = eventually(|| {
        let text = fs::read_to_string(&path).ok()?;
        text.contains("by client").then_some(text)
    });
    let mut lines = text.lines();
    for line in expected {
        assert!(
            lines.any(|logged| logged == line),
            "{line:?} is missing in\n{text}"
        );
    }
}

#[test]
fn the_log_can_be_read_on_topics() {
    let mut config = config(2, "");
    let text = "log_dest topic\nlog_type notice\nlog_timestamp false\n";
    let log = midge_server::config::Config::parse(text, "log.conf").unwrap();
    config.general.log = log.general.log;
    let broker = Broker::from(config);
    let mut reader = broker.connect("reader");
    reader.subscribe("$SYS/broker/log/N", QoS::AtMostOnce);
    let _client = broker.connect("somebody");
    loop {
        let (topic, payload) = reader.take();
        assert_eq!(topic, "$SYS/broker/log/N");
        if String::from_utf8(payload)
            .unwrap()
            .contains(" as somebody (p4, c1, k0).")
        {
            break;
        }
    }
}

#[test]
fn a_reload_can_change_where_the_log_goes() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (
        directory.path().join("one.log"),
        directory.path().join("two.log"),
    );
    let broker = Broker::from(logged_to(&one, ""));
    broker.connect("first").disconnect();
    broker.handle.reload(logged_to(&two, "")).unwrap();
    broker.connect("second").disconnect();
    let text = eventually(|| {
        let text = fs::read_to_string(&two).ok()?;
        text.contains("as second").then_some(text)
    });
    assert!(!text.contains("as first"));
    assert!(fs::read_to_string(&one).unwrap().contains("as first"));
}
