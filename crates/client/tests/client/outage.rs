use std::time::Duration;

use midge_client::{Client, Event, Options, QoS};

use crate::broker::Broker;
use crate::soon;

fn quick(broker: &Broker) -> Options {
    Options::new(&broker.url())
        .unwrap()
        .back_off(Duration::from_millis(10), Duration::from_millis(100))
}

#[tokio::test]
async fn a_restart_of_the_broker_loses_no_message_and_no_subscription() {
    let mut broker = Broker::start();
    let writer = soon(Client::connect(quick(&broker))).await.unwrap();
    let options = quick(&broker).client_id("reader").clean_start(false);
    let reader = soon(Client::connect(options.session_expiry(Duration::MAX)))
        .await
        .unwrap();
    let mut stream = reader.subscribe("r/#").qos(QoS::ExactlyOnce).await.unwrap();
    let mut next = 0;
    let mut deliveries = Vec::new();
    for round in 0..3 {
        for number in round * 100..(round + 1) * 100 {
            let publish = writer
                .publish("r/x", number.to_string())
                .qos(QoS::ExactlyOnce);
            deliveries.push(publish.enqueue().await.unwrap());
            if number % 100 == 50 {
                broker.stop();
                broker.run();
            }
        }
        for delivery in deliveries.drain(..) {
            soon(delivery).await.unwrap();
        }
        while next < (round + 1) * 100 {
            let message = soon(stream.next()).await.unwrap();
            assert_eq!(message.text(), Some(next.to_string().as_str()));
            next += 1;
        }
    }
}

#[tokio::test]
async fn a_broker_that_forgets_the_session_is_subscribed_to_again() {
    let mut broker = Broker::with("persistence false");
    let client = soon(Client::connect(quick(&broker))).await.unwrap();
    let mut events = client.events();
    let mut stream = client
        .subscribe(["r/#", "s"])
        .qos(QoS::AtLeastOnce)
        .await
        .unwrap();
    broker.stop();
    broker.run();
    loop {
        match soon(events.next()).await.unwrap() {
            Event::Resubscribed { filters, refused } => {
                assert_eq!((filters, refused.len()), (2, 0));
                break;
            }
            Event::Connected(connected) => assert!(!connected.session_present),
            _ => {}
        }
    }
    let publish = client.publish("r/x", "again").qos(QoS::AtLeastOnce);
    soon(publish.into_future()).await.unwrap();
    assert_eq!(soon(stream.next()).await.unwrap().text(), Some("again"));
}
