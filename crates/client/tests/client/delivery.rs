use midge_client::{Bytes, Client, Filter, Options, PublishError, QoS, ReasonCode, Version};

use crate::broker::Broker;
use crate::soon;

const ALL: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

#[tokio::test]
async fn every_version_delivers_every_qos() {
    let broker = Broker::start();
    for version in Version::ALL {
        let options = Options::new(&broker.url()).unwrap().version(version);
        let client = soon(Client::connect(options)).await.unwrap();
        let topic = format!("versions/{version:?}");
        let mut stream = soon(client.subscribe(&topic).qos(QoS::ExactlyOnce).into_future())
            .await
            .unwrap();
        assert_eq!(stream.granted(), [QoS::ExactlyOnce]);
        for qos in ALL {
            let publish = client.publish(&topic, format!("{qos:?}")).qos(qos);
            let published = soon(publish.into_future()).await.unwrap();
            assert_eq!(published.reason, ReasonCode::SUCCESS);
            let message = soon(stream.next()).await.unwrap();
            assert_eq!(message.text(), Some(format!("{qos:?}").as_str()));
            assert_eq!((message.qos(), message.topic()), (qos, topic.as_str()));
        }
        soon(client.disconnect().into_future()).await.unwrap();
        assert!(soon(stream.next()).await.is_none());
    }
}

#[tokio::test]
async fn the_brokers_reason_is_returned() {
    let broker = Broker::start();
    let client = soon(Client::connect(broker.url())).await.unwrap();
    let publish = client.publish("nobody/listens", "x").qos(QoS::AtLeastOnce);
    let published = soon(publish.into_future()).await.unwrap();
    assert_eq!(published.reason, ReasonCode::NO_MATCHING_SUBSCRIBERS);
}

#[tokio::test]
async fn all_properties_travel() {
    let broker = Broker::start();
    let client = soon(Client::connect(broker.url())).await.unwrap();
    let mut stream = client.subscribe("properties").await.unwrap();
    client
        .publish("properties", "21.5")
        .text()
        .expiry(std::time::Duration::from_secs(60))
        .content_type("text/plain")
        .response_topic("answers")
        .correlation_data(&b"\0\x01"[..])
        .user_property("unit", "celsius")
        .user_property("unit", "kelvin")
        .await
        .unwrap();
    let message = soon(stream.next()).await.unwrap();
    let properties = message.properties();
    assert!(properties.text);
    assert_eq!(properties.expiry.unwrap().as_secs(), 60);
    assert_eq!(properties.content_type.as_deref(), Some("text/plain"));
    assert_eq!(properties.response_topic.as_deref(), Some("answers"));
    assert_eq!(
        properties.correlation_data,
        Some(Bytes::from_static(b"\0\x01"))
    );
    assert_eq!(properties.user_property("unit"), Some("celsius"));
    assert_eq!(properties.user_properties.len(), 2);
}

#[tokio::test]
async fn many_deliveries_are_under_way_and_keep_their_order() {
    let broker = Broker::start();
    let client = soon(Client::connect(broker.url())).await.unwrap();
    let mut stream = client
        .subscribe("many/+")
        .qos(QoS::ExactlyOnce)
        .await
        .unwrap();
    let count = 3000_u32;
    let publisher = client.clone();
    let publishing = tokio::spawn(async move {
        let mut deliveries = Vec::new();
        for number in 0..count {
            let qos = ALL[1 + number as usize % 2];
            let topic = format!("many/{}", number % 2);
            let publish = publisher.publish(topic, number.to_string()).qos(qos);
            deliveries.push(publish.enqueue().await.unwrap());
        }
        for delivery in deliveries {
            delivery.await.unwrap();
        }
    });
    let mut last = [None, None];
    for _ in 0..count {
        let message = soon(stream.next()).await.unwrap();
        let number: u32 = message.text().unwrap().parse().unwrap();
        let parity = number as usize % 2;
        assert!(last[parity] < Some(number), "{number} after {last:?}");
        last[parity] = Some(number);
    }
    soon(publishing).await.unwrap();
    assert_eq!(client.unfinished(), 0);
}

#[tokio::test]
async fn a_retained_message_comes_to_later_subscribers() {
    let broker = Broker::start();
    let client = soon(Client::connect(broker.url())).await.unwrap();
    let publish = client.publish("kept", "v").qos(QoS::AtLeastOnce).retain();
    soon(publish.into_future()).await.unwrap();
    let mut stream = client.subscribe("kept").await.unwrap();
    let message = soon(stream.next()).await.unwrap();
    assert!(message.is_retained());
}

#[tokio::test]
async fn what_cannot_be_published_is_said() {
    let broker = Broker::with("message_size_limit 1000\nmax_packet_size 2000\n");
    let client = soon(Client::connect(broker.url())).await.unwrap();
    for topic in ["", "a/#", "+", "a\0b"] {
        let error = client.publish(topic, "x").await.unwrap_err();
        assert!(matches!(error, PublishError::Invalid(_)), "{error}");
    }
    let error = client.publish("large", vec![0; 4000]).await.unwrap_err();
    assert!(matches!(error, PublishError::TooLarge { .. }), "{error}");
    let refused = client.publish("large", vec![0; 1500]).qos(QoS::AtLeastOnce);
    let error = soon(refused.into_future()).await.unwrap_err();
    assert!(matches!(error, PublishError::Refused(_)), "{error}");
}

#[tokio::test]
async fn filters_have_options_of_their_own() {
    let broker = Broker::start();
    let client = soon(Client::connect(broker.url())).await.unwrap();
    let mut stream = client
        .subscribe([
            Filter::new("own/#").no_local(),
            Filter::new("all/#").qos(QoS::AtMostOnce),
        ])
        .qos(QoS::ExactlyOnce)
        .await
        .unwrap();
    assert_eq!(stream.granted(), [QoS::ExactlyOnce, QoS::AtMostOnce]);
    client
        .publish("own/x", "1")
        .qos(QoS::AtLeastOnce)
        .await
        .unwrap();
    client
        .publish("all/x", "2")
        .qos(QoS::AtLeastOnce)
        .await
        .unwrap();
    let message = soon(stream.next()).await.unwrap();
    assert_eq!(message.text(), Some("2"));
    assert_eq!(message.qos(), QoS::AtMostOnce);
}
