//! A lamp that is switched over MQTT, on this machine over TCP:
//! `cargo run -p midge-embedded --example host -- 127.0.0.1:1883`, then publish `on` or `off` to `lamp/set`.
//!
//! On a microcontroller only the transport, the clock and the timer are others; see `examples/embassy`.

use std::io;
use std::time::{Duration, Instant};

use midge_embedded::embedded_io_async::{ErrorType, Read, Write};
use midge_embedded::{
    Buffers, Client, Error, Event, Message, Options, QoS, Session, Subscription, Time, Version,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A transport of `embedded-io-async` over one of Tokio's.
pub(crate) struct Socket(TcpStream);

impl Socket {
    /// Wraps a connection.
    pub(crate) const fn new(stream: TcpStream) -> Self {
        Self(stream)
    }
}

impl ErrorType for Socket {
    type Error = io::Error;
}

impl Read for Socket {
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).await
    }
}

impl Write for Socket {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.0.flush().await
    }
}

/// Runs the lamp until it is told `stop`.
pub(crate) async fn lamp(address: &str, version: Version) -> io::Result<()> {
    let start = Instant::now();
    let clock = || Time(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX));
    let (mut unacknowledged, mut received) = ([0; 512], [0; 20]);
    let mut session = Session::new(version, &mut unacknowledged, &mut received);
    loop {
        let lived = live(address, clock, start, &mut session).await;
        match lived {
            Ok(()) => return Ok(()),
            Err(error) => {
                report(&error);
                // With growing waits where many of them share a broker.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "this is an example")]
fn report(error: &Error<io::Error>) {
    eprintln!("{error}");
}

/// One connection.
async fn live(
    address: &str,
    clock: impl Fn() -> Time,
    start: Instant,
    session: &mut Session<'_>,
) -> Result<(), Error<io::Error>> {
    let socket = TcpStream::connect(address)
        .await
        .map_err(Error::Transport)?;
    let (mut receive, mut send) = ([0; 256], [0; 128]);
    let buffers = Buffers {
        receive: &mut receive,
        send: &mut send,
    };
    let options = Options::new("lamp")
        .keep_alive_secs(5)
        .session_expiry_secs(3600);
    let (mut client, accepted) =
        Client::connect(Socket::new(socket), clock, session, buffers, &options).await?;
    if !accepted.session_present {
        let subscription = Subscription {
            filter: "lamp/set",
            options: QoS::ExactlyOnce.into(),
        };
        client.subscribe(&[subscription]).await?;
    }
    loop {
        let deadline = start + Duration::from_millis(client.deadline().0.min(u64::from(u32::MAX)));
        // Either may be dropped: `next` goes on where it was.
        let event = tokio::select! {
            event = client.next() => event?,
            () = tokio::time::sleep_until(deadline.into()) => continue,
        };
        let state = match event {
            Event::Message(message) => match message.payload {
                b"on" => "it is on",
                b"off" => "it is off",
                b"stop" => break,
                _ => continue,
            },
            Event::Subscribed { .. } => "it is there",
            _ => continue,
        };
        let message = Message::new("lamp/state", state.as_bytes());
        client
            .publish(&message.qos(QoS::AtLeastOnce).retain())
            .await?;
    }
    client.disconnect().await?;
    Ok(())
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(lamp(
        address.as_deref().unwrap_or("127.0.0.1:1883"),
        Version::V5,
    ))
}
