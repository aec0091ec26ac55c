//! rumqttc and its successor, which differ in how a client is made and in what `publish` takes.

use super::{Case, END, INFLIGHT, Outcome, PAYLOAD, TOPIC, cpu_time, feed};

macro_rules! library {
    (
        $name:ident is $library:ident,
        connect($id:ident, $port:ident): $options:expr,
        start($started:ident): $start:expr,
        publish($client:ident, $qos:ident, $payload:ident): $publish:expr
    ) => {
        pub(super) mod $name {
            use ::$library::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, Outgoing, QoS};

            use super::*;

            const fn qos(case: Case) -> QoS {
                match case.qos {
                    0 => QoS::AtMostOnce,
                    _ => QoS::AtLeastOnce,
                }
            }

            fn start($id: String, $port: u16) -> (AsyncClient, EventLoop) {
                let mut $started: MqttOptions = $options;
                $started.set_inflight(INFLIGHT);
                $start
            }

            fn alone(port: u16) -> (AsyncClient, EventLoop) {
                start(format!("bench-{}", std::process::id()), port)
            }

            pub(crate) async fn publish(case: Case, port: u16, messages: u64) -> Outcome<()> {
                let ($client, mut events) = alone(port);
                let publishing = tokio::spawn(async move {
                    let payload = vec![0; PAYLOAD];
                    let $qos = qos(case);
                    for _ in 0..messages {
                        let $payload = payload.clone();
                        $publish.await?;
                    }
                    $client.disconnect().await
                });
                let mut acknowledged = 0;
                loop {
                    match events.poll().await {
                        Ok(Event::Incoming(Incoming::PubAck(_))) => acknowledged += 1,
                        Ok(Event::Outgoing(Outgoing::Disconnect)) => break,
                        Ok(_) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                publishing.await??;
                // What is missing at the end are the last of a window.
                let expected = if case.qos == 0 { 0 } else { messages };
                if acknowledged + u64::from(INFLIGHT) < expected {
                    return Err(format!("{acknowledged} of {expected} acknowledged").into());
                }
                Ok(())
            }

            pub(crate) async fn receive(
                name: &str,
                case: Case,
                port: u16,
                messages: u64,
            ) -> Outcome<f64> {
                let (client, mut events) = alone(port);
                client.subscribe(TOPIC, qos(case)).await?;
                let mut feeding = None;
                let mut before = 0.0;
                let mut received = 0.0;
                loop {
                    match events.poll().await? {
                        Event::Incoming(Incoming::SubAck(_)) => {
                            feeding = Some(feed(name, port, messages)?);
                        }
                        Event::Incoming(Incoming::Publish(publish)) if publish.payload == END => {
                            break;
                        }
                        Event::Incoming(Incoming::Publish(_)) => {
                            if received == 0.0 {
                                before = cpu_time()?;
                            }
                            received += 1.0;
                        }
                        _ => {}
                    }
                }
                let cost = (cpu_time()? - before) / received;
                drop(feeding);
                Ok(cost)
            }

            /// The event loop goes on in a task of its own once it has subscribed.
            pub(crate) async fn hold(port: u16, number: usize) -> Result<AsyncClient, String> {
                let (client, mut events) = start(format!("{}-{number}", stringify!($name)), port);
                client
                    .subscribe(format!("bench/{number}"), QoS::AtMostOnce)
                    .await
                    .map_err(|error| error.to_string())?;
                loop {
                    match events.poll().await.map_err(|error| error.to_string())? {
                        Event::Incoming(Incoming::SubAck(_)) => break,
                        _ => {}
                    }
                }
                tokio::spawn(async move { while events.poll().await.is_ok() {} });
                Ok(client)
            }
        }
    };
}

library!(
    first is rumqttc,
    connect(id, port): MqttOptions::new(id, "127.0.0.1", port),
    start(options): AsyncClient::new(options, INFLIGHT.into()),
    publish(client, qos, payload): client.publish(TOPIC, qos, false, payload)
);

library!(
    next is rumqttc_next,
    connect(id, port): MqttOptions::new(id, ("127.0.0.1", port)),
    start(options): AsyncClient::builder(options).capacity(INFLIGHT.into()).build(),
    publish(client, qos, payload): client.publish(
        TOPIC,
        payload,
        ::rumqttc_next::PublishOptions::new(qos),
    )
);
