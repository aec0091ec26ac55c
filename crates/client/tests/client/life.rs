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

#[tokio::test]
async fn the_limit_of_an_end_holds_while_a_connection_is_made() {
    let options = Options::new("mqtt://127.0.0.1")
        .unwrap()
        .connect_timeout(Duration::from_secs(3600))
        .credentials_from(|_| std::future::pending());
    let client = Client::start(options).unwrap();
    let publish = client.publish("a", "b").qos(QoS::AtLeastOnce);
    let delivery = publish.enqueue().await.unwrap();
    let end = client.disconnect().within(Duration::from_millis(20));
    assert_eq!(soon(end.into_future()).await.unwrap_err().messages, 1);
    assert!(matches!(soon(delivery).await, Err(PublishError::Closed(_))));
}

/// A runtime that does nothing but carry a client.
fn other_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

#[tokio::test]
async fn the_end_of_its_runtime_ends_everything_that_waits_for_the_client() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start();
    let options = Options::new(&broker.url())
        .unwrap()
        .client_id("c")
        .clean_start(false)
        .durable_queue(directory.path());
    let other = other_runtime();
    let (started, waiting) = std::sync::mpsc::channel();
    let connecting = options.clone();
    other.spawn(async move { started.send(Client::connect(connecting).await) });
    let client = waiting.recv_timeout(crate::PATIENCE).unwrap().unwrap();
    let mut events = client.events();
    let mut stream = soon(client.subscribe("none").into_future()).await.unwrap();
    let (asking, ending) = (client.clone(), client.clone());
    let reading = tokio::spawn(async move { stream.next().await.is_none() });
    let asking = tokio::spawn(async move { asking.request("nobody", "?").await.is_err() });
    other.shutdown_background();
    assert!(soon(reading).await.unwrap());
    assert!(soon(asking).await.unwrap());
    let late = soon(client.publish("a", "b").qos(QoS::AtLeastOnce).into_future()).await;
    assert!(
        matches!(&late, Err(PublishError::Closed(why))
            if matches!(**why, ConnectionError::RuntimeEnded)),
        "{late:?}"
    );
    let told = soon(async {
        loop {
            match events.next().await {
                Some(Event::Closed(why)) => return why,
                Some(_) => {}
                None => panic!("the end is not told"),
            }
        }
    });
    assert!(matches!(told.await, ConnectionError::RuntimeEnded));
    soon(ending.disconnect().into_future()).await.unwrap();
    // The queue's files are free for the next client.
    let start = std::time::Instant::now();
    while let Err(error) = soon(Client::connect(options.clone())).await {
        assert!(start.elapsed() < crate::PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_end_with_a_durable_queue_ends_with_its_runtime() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(&format!("mqtt://127.0.0.1:{}", free_port()))
        .unwrap()
        .client_id("c")
        .clean_start(false)
        .durable_queue(directory.path());
    let other = other_runtime();
    let (started, waiting) = std::sync::mpsc::channel();
    other.spawn(async move { started.send(Client::start(options)) });
    let client = waiting.recv_timeout(crate::PATIENCE).unwrap().unwrap();
    let publish = client.publish("a", "b").qos(QoS::AtLeastOnce);
    drop(soon(publish.enqueue()).await.unwrap());
    let end = client.disconnect().within(Duration::from_secs(3600));
    let mut end = std::pin::pin!(end.into_future());
    assert!(poll_times(&mut end, 1).await.is_none());
    other.shutdown_background();
    assert_eq!(soon(end).await.unwrap_err().messages, 1);
}

#[tokio::test]
async fn a_callback_that_panics_ends_the_client_and_not_its_callers() {
    let options = Options::new("mqtt://127.0.0.1")
        .unwrap()
        .credentials_from(|_| async { panic!("as a test wants it") });
    let error = soon(Client::connect(options)).await.err().unwrap();
    assert!(matches!(error, ConnectionError::RuntimeEnded), "{error}");
}

/// Polls a future so many times, and drops it.
async fn poll_times<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    for _ in 0..times {
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(match future.as_mut().poll(context) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        });
        if let Some(output) = polled.await {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test]
async fn calls_that_are_dropped_after_any_poll_leave_the_client_whole() {
    let broker = Broker::start();
    let client = soon(Client::connect(broker.url())).await.unwrap();
    let mut stream = client
        .subscribe("kept/#")
        .qos(QoS::ExactlyOnce)
        .await
        .unwrap();
    let mut sent = 0;
    for times in 0..30 {
        let publish = client
            .publish("kept/x", sent.to_string())
            .qos(QoS::ExactlyOnce);
        // The first poll accepts it.
        let _ = poll_times(publish.into_future(), times).await;
        sent += usize::from(times > 0);
        let _ = poll_times(client.request("nobody", "?").into_future(), times).await;
        let subscribing = client.subscribe(["kept/#", "other"]).into_future();
        if let Some(subscribed) = poll_times(subscribing, times).await {
            let _ = poll_times(subscribed.unwrap().unsubscribe(), times).await;
        }
        // A message is taken or still there, whatever poll the reader stops at.
        let _ = poll_times(client.events().next(), times).await;
    }
    let mut got = 0;
    let mut times = 0;
    let reading = async {
        while got < sent {
            times = times % 5 + 1;
            if let Some(message) = poll_times(stream.next(), times).await {
                let message = message.unwrap();
                assert_eq!(message.text(), Some(got.to_string().as_str()));
                got += 1;
            }
        }
    };
    soon(reading).await;
    soon(client.disconnect().into_future()).await.unwrap();
}
