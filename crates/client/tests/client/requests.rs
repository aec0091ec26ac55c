use midge_client::{Client, Options, QoS, RequestError, Version};

use crate::broker::Broker;
use crate::soon;

#[tokio::test]
async fn requests_find_their_responses() {
    let broker = Broker::start();
    let server = soon(Client::connect(broker.url())).await.unwrap();
    let mut requests = server
        .subscribe("square")
        .qos(QoS::AtLeastOnce)
        .await
        .unwrap();
    let serving = tokio::spawn(async move {
        // In the other order, so that a mix-up would show.
        let mut waiting = Vec::new();
        while waiting.len() < 10 {
            waiting.push(requests.next().await.unwrap());
        }
        for request in waiting.iter().rev() {
            let number: u32 = request.text().unwrap().parse().unwrap();
            let response = server.respond(request, (number * number).to_string());
            response.unwrap().await.unwrap();
        }
    });
    let client = soon(Client::connect(broker.url())).await.unwrap();
    let calls: Vec<_> = (0..10_u32)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                let request = client.request("square", number.to_string());
                let response = request.qos(QoS::AtLeastOnce).await.unwrap();
                assert_eq!(
                    response.text(),
                    Some((number * number).to_string().as_str())
                );
            })
        })
        .collect();
    for call in calls {
        soon(call).await.unwrap();
    }
    soon(serving).await.unwrap();
}

#[tokio::test]
async fn requests_need_5_0() {
    let broker = Broker::start();
    let options = Options::new(&broker.url())
        .unwrap()
        .version(Version::V3_1_1);
    let client = soon(Client::connect(options)).await.unwrap();
    let result = client.request("x", "").await;
    assert!(matches!(result, Err(RequestError::NotInVersion)));
}
