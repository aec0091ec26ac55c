use std::time::Duration;

use midge_client::blocking::{Client, Wait};
use midge_client::{QoS, RequestError};

use crate::PATIENCE;
use crate::broker::Broker;

#[test]
fn the_blocking_front_has_the_same_calls() {
    let broker = Broker::start();
    let client = Client::connect(broker.url()).unwrap();
    let mut stream = client
        .subscribe("b/#")
        .qos(QoS::ExactlyOnce)
        .wait()
        .unwrap();
    for number in 0..100 {
        let publish = client
            .publish("b/x", number.to_string())
            .qos(QoS::ExactlyOnce);
        let delivery = publish.enqueue().wait().unwrap();
        delivery.wait_for(PATIENCE).unwrap().unwrap();
    }
    let mut messages = stream.blocking();
    for number in 0..100 {
        let message = messages.next_within(PATIENCE).unwrap();
        assert_eq!(message.text(), Some(number.to_string().as_str()));
    }
    assert!(messages.next_within(Duration::from_millis(10)).is_none());
    let nobody: Option<Result<_, RequestError>> = client
        .request("nobody", "?")
        .wait_for(Duration::from_millis(10));
    assert!(nobody.is_none());
    client.disconnect().wait_for(PATIENCE).unwrap().unwrap();
    assert!(stream.blocking().next().is_none());
}

#[test]
fn a_broker_that_is_not_there_is_said_at_once() {
    let url = format!("mqtt://127.0.0.1:{}", crate::broker::free_port());
    assert!(Client::connect(url).is_err());
}

#[cfg(target_os = "linux")]
#[test]
fn it_takes_one_thread() {
    let broker = Broker::start();
    let named = || {
        std::fs::read_dir("/proc/self/task")
            .unwrap()
            .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok())
            .filter(|name| name.starts_with("midge-client") || name.starts_with("tokio"))
            .count()
    };
    let url = format!("mqtt://localhost:{}", broker.port);
    let client = Client::connect(url).unwrap();
    client
        .publish("x", "")
        .qos(QoS::AtLeastOnce)
        .wait()
        .unwrap();
    assert_eq!(named(), 1);
}
