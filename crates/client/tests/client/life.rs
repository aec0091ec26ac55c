use std::time::Duration;

use midge_client::{Client, ConnectionError, Event, Options, PublishError, QoS, Will};

use crate::broker::{Broker, free_port};
use crate::soon;

#[tokio::test]
async fn a_broker_that_is_not_there_is_said_at_once() {
    let url = format!("mqtt://127.0.0.1:{}", free_port());
    let error = soon(Client::connect(url)).await.err().unwrap();
    assert!(matches!(error, ConnectionError::Io(_)), "{error}");
    let error = soon(Client::connect("mqtt://no.such.host.invalid"))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, ConnectionError::Resolve { .. }), "{error}");
}

#[tokio::test]
async fn a_client_that_starts_offline_delivers_when_the_broker_comes() {
    let mut broker = Broker::start();
    broker.stop();
    let options = Options::new(&broker.url())
        .unwrap()
        .back_off(Duration::from_millis(10), Duration::from_millis(50));
    let client = Client::start(options).unwrap();
    let mut events = client.events();
    let early = client
        .publish("early", "1")
        .qos(QoS::AtLeastOnce)
        .enqueue()
        .await
        .unwrap();
    let failed = soon(events.next()).await;
    assert!(
        matches!(failed, Some(Event::ConnectFailed(_))),
        "{failed:?}"
    );
    broker.run();
    soon(early).await.unwrap();
    assert!(client.is_connected());
}

#[tokio::test]
async fn dropping_every_handle_delivers_what_was_accepted() {
    let broker = Broker::start();
    let reader = soon(Client::connect(broker.url())).await.unwrap();
    let mut stream = reader
        .subscribe("last/#")
        .qos(QoS::AtLeastOnce)
        .await
        .unwrap();
    let writer = soon(Client::connect(broker.url())).await.unwrap();
    for number in 0..500 {
        let publish = writer.publish("last/words", number.to_string());
        drop(publish.qos(QoS::AtLeastOnce).enqueue().await.unwrap());
    }
    drop(writer);
    for number in 0..500 {
        let message = soon(stream.next()).await.unwrap();
        assert_eq!(message.text(), Some(number.to_string().as_str()));
    }
}

#[tokio::test]
async fn disconnect_delivers_first_and_suppresses_the_will() {
    let broker = Broker::start();
    let reader = soon(Client::connect(broker.url())).await.unwrap();
    let mut stream = reader
        .subscribe("end/#")
        .qos(QoS::ExactlyOnce)
        .await
        .unwrap();
    for with_will in [false, true] {
        let will = Will::new("end/will", "gone").qos(QoS::AtLeastOnce);
        let options = Options::new(&broker.url()).unwrap().will(will);
        let writer = soon(Client::connect(options)).await.unwrap();
        let publish = writer.publish("end/words", "bye").qos(QoS::ExactlyOnce);
        let delivery = publish.enqueue().await.unwrap();
        let end = writer.disconnect();
        let end = if with_will { end.with_will() } else { end };
        soon(end.into_future()).await.unwrap();
        soon(delivery).await.unwrap();
        assert_eq!(soon(stream.next()).await.unwrap().topic(), "end/words");
        let error = writer.publish("end/late", "").await.unwrap_err();
        assert!(matches!(error, PublishError::Closed(_)), "{error}");
        if with_will {
            assert_eq!(soon(stream.next()).await.unwrap().topic(), "end/will");
        }
    }
    reader.publish("end/sentinel", "").await.unwrap();
    assert_eq!(soon(stream.next()).await.unwrap().topic(), "end/sentinel");
}

#[cfg(unix)]
#[tokio::test]
async fn unix_sockets_carry_it_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("m.sock");
    let _broker = Broker::with(&format!("listener 0 {}", path.display()));
    let url = format!("unix://{}", path.display());
    let client = soon(Client::connect(url)).await.unwrap();
    client
        .publish("a", "b")
        .qos(QoS::ExactlyOnce)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_future_that_is_dropped_before_acceptance_publishes_nothing() {
    let broker = Broker::start();
    let client = soon(Client::connect(broker.url())).await.unwrap();
    let mut stream = client.subscribe("x/#").await.unwrap();
    drop(client.publish("x/never", "").into_future());
    client.publish("x/now", "").await.unwrap();
    assert_eq!(soon(stream.next()).await.unwrap().topic(), "x/now");
}
