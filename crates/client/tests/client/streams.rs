use std::time::Duration;

use midge_client::blocking::{self, Wait as _};
use midge_client::{Client, Options, Overflow, QoS, SubscribeError};

use crate::broker::Broker;
use crate::soon;

#[tokio::test]
async fn a_message_goes_to_every_subscription_that_matches_and_once() {
    let broker = Broker::start();
    let client = soon(Client::connect(broker.url())).await.unwrap();
    let mut one = client.subscribe(["a/#", "d"]).await.unwrap();
    let mut two = client.subscribe("a/b").await.unwrap();
    let mut other = client.subscribe("c").await.unwrap();
    client
        .publish("a/b", "1")
        .qos(QoS::AtLeastOnce)
        .await
        .unwrap();
    client
        .publish("c", "2")
        .qos(QoS::AtLeastOnce)
        .await
        .unwrap();
    assert_eq!(soon(other.next()).await.unwrap().text(), Some("2"));
    assert_eq!(soon(one.next()).await.unwrap().text(), Some("1"));
    assert_eq!(soon(two.next()).await.unwrap().text(), Some("1"));
    assert!(one.try_next().is_none());
    assert!(two.try_next().is_none());
}

#[tokio::test]
async fn two_subscriptions_can_share_a_filter_and_the_last_unsubscribes() {
    let broker = Broker::start();
    let client = soon(Client::connect(broker.url())).await.unwrap();
    let mut one = client.subscribe("shared").await.unwrap();
    let mut two = client
        .subscribe("shared")
        .qos(QoS::AtLeastOnce)
        .await
        .unwrap();
    client.publish("shared", "1").await.unwrap();
    assert_eq!(soon(one.next()).await.unwrap().text(), Some("1"));
    assert_eq!(soon(two.next()).await.unwrap().text(), Some("1"));
    soon(one.unsubscribe()).await.unwrap();
    client.publish("shared", "2").await.unwrap();
    assert_eq!(soon(two.next()).await.unwrap().text(), Some("2"));
    soon(two.unsubscribe()).await.unwrap();
    let published = client
        .publish("shared", "3")
        .qos(QoS::AtLeastOnce)
        .await
        .unwrap();
    assert_eq!(
        published.reason,
        midge_client::ReasonCode::NO_MATCHING_SUBSCRIBERS
    );
}

#[tokio::test]
async fn a_dropped_subscription_unsubscribes() {
    let broker = Broker::start();
    let client = soon(Client::connect(broker.url())).await.unwrap();
    drop(client.subscribe("short").await.unwrap());
    // Packets are answered in order, so UNSUBSCRIBE comes before this.
    let published = client
        .publish("short", "")
        .qos(QoS::AtLeastOnce)
        .await
        .unwrap();
    assert_eq!(
        published.reason,
        midge_client::ReasonCode::NO_MATCHING_SUBSCRIBERS
    );
}

#[tokio::test]
async fn a_stream_that_is_dropped_with_messages_in_hand_takes_none_from_others() {
    let broker = Broker::start();
    let options = Options::new(&broker.url()).unwrap().receive_maximum(5);
    let client = soon(Client::connect(options)).await.unwrap();
    let writer = soon(Client::connect(broker.url())).await.unwrap();
    let mut dropped = client.subscribe("x").qos(QoS::AtLeastOnce).await.unwrap();
    let mut kept = client.subscribe("x").qos(QoS::AtLeastOnce).await.unwrap();
    for number in 0..5 {
        let publish = writer.publish("x", number.to_string());
        publish.qos(QoS::AtLeastOnce).await.unwrap();
    }
    // All five are there when the last is; the first reader has four of them unread.
    let last = client.publish("x", "5").qos(QoS::AtLeastOnce);
    let last = last.enqueue().await.unwrap();
    soon(last).await.unwrap();
    assert_eq!(soon(dropped.next()).await.unwrap().text(), Some("0"));
    drop(dropped);
    // The window of five frees as the other reads.
    for number in 6..20 {
        let publish = writer.publish("x", number.to_string());
        publish.qos(QoS::AtLeastOnce).await.unwrap();
    }
    for number in 0..20 {
        let message = soon(kept.next()).await.unwrap();
        assert_eq!(message.text(), Some(number.to_string().as_str()));
    }
}

#[tokio::test]
async fn a_reader_that_publishes_what_it_reads_does_not_block_itself() {
    let broker = Broker::start();
    let client = soon(Client::connect(broker.url())).await.unwrap();
    let flood = soon(Client::connect(broker.url())).await.unwrap();
    let stream = client.subscribe("flood").buffer(1, Overflow::Wait);
    let mut stream = stream.await.unwrap();
    let flooding =
        tokio::spawn(async move { while flood.publish("flood", vec![0; 100]).await.is_ok() {} });
    for _ in 0..20 {
        soon(stream.next()).await.unwrap();
        let echo = client.publish("echo", "").qos(QoS::ExactlyOnce);
        soon(echo.into_future()).await.unwrap();
    }
    flooding.abort();
}

#[tokio::test]
async fn a_stream_that_waits_loses_nothing_to_a_slow_reader() {
    let broker = Broker::start();
    let client = soon(Client::connect(broker.url())).await.unwrap();
    let flood = soon(Client::connect(broker.url())).await.unwrap();
    let stream = client.subscribe("flood").buffer(2, Overflow::Wait);
    let mut stream = stream.await.unwrap();
    for number in 0..2000 {
        flood.publish("flood", number.to_string()).await.unwrap();
    }
    for number in 0..2000 {
        let message = soon(stream.next()).await.unwrap();
        assert_eq!(message.text(), Some(number.to_string().as_str()));
    }
    assert_eq!(stream.lost(), 0);
}

#[tokio::test]
async fn a_reader_gets_its_turn_after_each_read() {
    const COUNT: usize = 30_000;
    let broker = Broker::start();
    let client = soon(Client::connect(broker.url())).await.unwrap();
    // One read brings some 500 of the messages.
    let stream = client.subscribe("#").qos(QoS::AtLeastOnce);
    let mut stream = stream.buffer(1000, Overflow::DropNewest).await.unwrap();
    let url = broker.url();
    let flooding = std::thread::spawn(move || {
        let flood = blocking::Client::connect(url).unwrap();
        for _ in 0..COUNT {
            let publish = flood.publish("flood", vec![0; 120]);
            drop(publish.enqueue().wait().unwrap());
        }
        let end = flood.publish("end", "").qos(QoS::AtLeastOnce);
        end.wait().unwrap();
    });
    let mut got = 0;
    while soon(stream.next()).await.unwrap().topic() != "end" {
        got += 1;
    }
    // The broker may have dropped some; the stream has not.
    assert!(got > COUNT / 2, "{got}");
    assert_eq!(stream.lost(), 0);
    flooding.join().unwrap();
}

#[tokio::test]
async fn a_stream_that_drops_the_oldest_keeps_the_newest() {
    let broker = Broker::start();
    let client = soon(Client::connect(broker.url())).await.unwrap();
    let stream = client.subscribe("flood").qos(QoS::AtLeastOnce);
    let mut stream = stream.buffer(3, Overflow::DropOldest).await.unwrap();
    for number in 0..100 {
        let publish = client.publish("flood", number.to_string());
        soon(publish.qos(QoS::AtLeastOnce).into_future())
            .await
            .unwrap();
    }
    // The last was acknowledged to the publisher before it was sent to the subscriber.
    let mut sentinel = client
        .subscribe("sentinel")
        .qos(QoS::AtLeastOnce)
        .await
        .unwrap();
    client
        .publish("sentinel", "")
        .qos(QoS::AtLeastOnce)
        .await
        .unwrap();
    soon(sentinel.next()).await.unwrap();
    let mut numbers = Vec::new();
    while let Some(message) = stream.try_next() {
        numbers.push(message.text().unwrap().to_owned());
    }
    assert_eq!(numbers, ["97", "98", "99"]);
    assert_eq!(stream.lost(), 97);
}

#[tokio::test]
async fn unacknowledged_messages_hold_up_the_broker_until_they_are_acknowledged() {
    let broker = Broker::start();
    let options = Options::new(&broker.url()).unwrap().receive_maximum(2);
    let client = soon(Client::connect(options)).await.unwrap();
    let stream = client.subscribe("manual").qos(QoS::AtLeastOnce);
    let mut stream = stream.manual_acknowledgement().await.unwrap();
    for number in 0..4 {
        let publish = client.publish("manual", number.to_string());
        publish.qos(QoS::AtLeastOnce).await.unwrap();
    }
    let first = soon(stream.next()).await.unwrap();
    let second = soon(stream.next()).await.unwrap();
    let third = tokio::time::timeout(Duration::from_millis(100), stream.next()).await;
    assert!(third.is_err());
    // Out of order: nothing can leave before the first.
    second.acknowledge();
    let third = tokio::time::timeout(Duration::from_millis(100), stream.next()).await;
    assert!(third.is_err());
    first.acknowledge();
    first.acknowledge();
    assert_eq!(soon(stream.next()).await.unwrap().text(), Some("2"));
    assert_eq!(soon(stream.next()).await.unwrap().text(), Some("3"));
}

#[tokio::test]
async fn filters_that_are_none_are_refused_at_once() {
    let broker = Broker::start();
    let client = soon(Client::connect(broker.url())).await.unwrap();
    for filter in ["", "a/#/b", "a+", "$share/g", "x\0"] {
        let result = client.subscribe(filter).await;
        assert!(
            matches!(result, Err(SubscribeError::Invalid(_))),
            "{filter}"
        );
    }
    let none: [&str; 0] = [];
    assert!(client.subscribe(none).await.is_err());
}

#[tokio::test]
async fn the_members_of_a_shared_subscription_share_its_messages() {
    let broker = Broker::start();
    let one = soon(Client::connect(broker.url())).await.unwrap();
    let two = soon(Client::connect(broker.url())).await.unwrap();
    let mut first = one
        .subscribe("$share/g/work/#")
        .qos(QoS::AtLeastOnce)
        .await
        .unwrap();
    let mut second = two
        .subscribe("$share/g/work/#")
        .qos(QoS::AtLeastOnce)
        .await
        .unwrap();
    for number in 0..40 {
        let publish = one.publish("work/x", number.to_string());
        publish.qos(QoS::AtLeastOnce).await.unwrap();
    }
    let mut got = [0, 0];
    for _ in 0..40 {
        tokio::select! {
            message = first.next() => got[usize::from(message.is_none())] += 1,
            message = second.next() => got[1 + usize::from(message.is_none())] += 1,
            () = tokio::time::sleep(crate::PATIENCE) => panic!("messages are missing: {got:?}"),
        }
    }
    assert!(got[0] > 0 && got[1] > 0, "{got:?}");
}
