//! A task for embassy: connects over embassy-net, keeps a session over lost connections, answers.
//!
//! The application makes the network stack as its board needs it, and spawns [`mqtt`]'s future.

#![no_std]

use embassy_futures::select::{Either, select};
use embassy_net::tcp::TcpSocket;
use embassy_net::{IpEndpoint, Stack};
use embassy_time::{Duration, Instant, Timer};
use midge_embedded::{
    Buffers, Client, Error, Event, Message, Options, QoS, Session, Subscription, Time, Version,
};

/// Serves a lamp for ever. `switch` turns it on or off.
pub async fn mqtt(stack: Stack<'_>, broker: IpEndpoint, mut switch: impl FnMut(bool)) -> ! {
    let (mut unacknowledged, mut received) = ([0; 512], [0; 8]);
    let mut session = Session::new(Version::V5, &mut unacknowledged, &mut received);
    let mut wait = Duration::from_secs(1);
    loop {
        stack.wait_config_up().await;
        let began = Instant::now();
        // Nothing but a new connection helps, whatever it was.
        let _ = live(stack, broker, &mut session, &mut switch).await;
        if began.elapsed() > Duration::from_secs(60) {
            wait = Duration::from_secs(1);
        }
        Timer::after(wait).await;
        wait = (wait * 2).min(Duration::from_secs(60));
    }
}

async fn live(
    stack: Stack<'_>,
    broker: IpEndpoint,
    session: &mut Session<'_>,
    switch: &mut impl FnMut(bool),
) -> Result<(), Error<embassy_net::tcp::Error>> {
    let (mut socket_receive, mut socket_send) = ([0; 1024], [0; 1024]);
    let mut socket = TcpSocket::new(stack, &mut socket_receive, &mut socket_send);
    // Also a connection that is dead is found: a write that is not acknowledged ends it.
    socket.set_timeout(Some(Duration::from_secs(90)));
    if socket.connect(broker).await.is_err() {
        return Err(Error::Closed);
    }
    let (mut receive, mut send) = ([0; 256], [0; 128]);
    let buffers = Buffers {
        receive: &mut receive,
        send: &mut send,
    };
    let options = Options::new("lamp")
        .keep_alive_secs(60)
        .session_expiry_secs(3600);
    let clock = || Time(Instant::now().as_millis());
    let connecting = Client::connect(socket, clock, session, buffers, &options);
    let (mut client, accepted) = match select(connecting, Timer::after_secs(20)).await {
        Either::First(connected) => connected?,
        Either::Second(()) => return Err(Error::TimedOut),
    };
    if !accepted.session_present {
        let subscription = Subscription {
            filter: "lamp/set",
            options: QoS::AtLeastOnce.into(),
        };
        client.subscribe(&[subscription]).await?;
    }
    loop {
        let deadline = Instant::from_millis(client.deadline().0);
        let event = match select(client.next(), Timer::at(deadline)).await {
            Either::First(event) => event?,
            // `next` looks at the clock.
            Either::Second(()) => continue,
        };
        let Event::Message(message) = event else {
            continue;
        };
        let is_on = message.payload == b"on";
        switch(is_on);
        let state: &[u8] = if is_on { b"on" } else { b"off" };
        let message = Message::new("lamp/state", state).qos(QoS::AtLeastOnce);
        client.publish(&message.retain()).await?;
    }
}
