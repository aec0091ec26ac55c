//! Enhanced authentication with the broker over TCP: a client that knows the password by SCRAM, and some that do
//! not.

#![expect(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

#[path = "../examples/host.rs"]
#[expect(dead_code, reason = "only its socket is used")]
mod host;

use std::io::Write as _;
use std::net::TcpListener;
use std::time::Duration;

use host::Socket;
use midge_access::scram::{self, Answered, Mechanism};
use midge_embedded::{
    Accepted, Authentication, Authenticator, Buffers, Client, Error, Event, Message, Options, QoS,
    ReasonCode, Session, Subscription, Time, Unconvinced, Version, With,
};
use midge_server::config::Config;
use midge_server::{Server, ServerHandle};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(30);

/// The user of RFC 7677, whose password is `pencil`.
const FILE: &str = "user:$scram-sha-256$4096$W22ZaJ0SNY7soEsUEjb6gQ==$\
    WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=$wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n";

/// The client's side of SCRAM.
struct Scram {
    password: &'static [u8],
    /// Makes each nonce another one.
    count: u8,
    begun: Option<scram::Client>,
    answered: Option<Answered>,
    says: Vec<u8>,
    finished: u8,
}

impl Scram {
    const fn new(password: &'static [u8]) -> Self {
        Self {
            password,
            count: 0,
            begun: None,
            answered: None,
            says: Vec::new(),
            finished: 0,
        }
    }
}

impl Authenticator for Scram {
    fn method(&self) -> &'static str {
        "SCRAM-SHA-256"
    }

    fn begin(&mut self) -> Option<&[u8]> {
        self.count += 1;
        let mechanism = Mechanism::from_name(self.method())?;
        let (client, first) =
            scram::Client::new(mechanism, "user", self.password, None, [self.count; 18]);
        self.begun = Some(client);
        self.says = first;
        Some(&self.says)
    }

    fn answer(&mut self, data: Option<&[u8]>) -> Result<Option<&[u8]>, Unconvinced> {
        let begun = self.begun.take().ok_or(Unconvinced)?;
        let answered = begun.answer(data.unwrap_or_default());
        let (answered, says) = answered.map_err(|_| Unconvinced)?;
        self.answered = Some(answered);
        self.says = says;
        Ok(Some(&self.says))
    }

    fn finish(&mut self, data: Option<&[u8]>) -> Result<(), Unconvinced> {
        let answered = self.answered.take().ok_or(Unconvinced)?;
        let finished = answered.finish(data.unwrap_or_default());
        self.finished += 1;
        finished.map_err(|_| Unconvinced)
    }
}

fn start() -> (ServerHandle, u16, tempfile::NamedTempFile) {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(FILE.as_bytes()).unwrap();
    file.flush().unwrap();
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {}\nlog_dest none\n",
        file.path().display()
    );
    let server = Server::start(Config::parse(&text, "test").unwrap()).unwrap();
    (server, port, file)
}

type Connection<'a, 's, 'u> =
    Client<'a, 's, Socket, fn() -> Time, With<(), Authentication<&'u mut Scram>>>;

async fn connect<'a, 's, 'u>(
    port: u16,
    session: &'a mut Session<'s>,
    buffers: Buffers<'a>,
    scram: &'u mut Scram,
) -> Result<(Connection<'a, 's, 'u>, Accepted), Error<std::io::Error>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let clock: fn() -> Time = || Time(0);
    let with = With::new().authenticator(scram);
    let options = Options::new("device");
    Client::connect_with(Socket::new(stream), clock, session, buffers, &options, with).await
}

async fn logs_in_and_again(port: u16) {
    let (mut log, mut receive, mut send) = ([0; 256], [0; 256], [0; 256]);
    let mut session = Session::new(Version::V5, &mut log, &mut []);
    let buffers = Buffers {
        receive: &mut receive,
        send: &mut send,
    };
    let mut scram = Scram::new(b"pencil");
    let (mut client, _) = connect(port, &mut session, buffers, &mut scram)
        .await
        .unwrap();
    let subscription = Subscription {
        filter: "t",
        options: QoS::AtMostOnce.into(),
    };
    client.subscribe(&[subscription]).await.unwrap();
    assert!(matches!(
        client.next().await.unwrap(),
        Event::Subscribed { .. }
    ));
    for _ in 0..2 {
        client.authenticate().await.unwrap();
        let again = client.authenticate().await;
        assert!(matches!(again, Err(Error::Queue(_))), "{again:?}");
        // The connection goes on meanwhile.
        client.publish(&Message::new("t", b"x")).await.unwrap();
        let (mut is_authenticated, mut has_message) = (false, false);
        while !is_authenticated || !has_message {
            match client.next().await.unwrap() {
                Event::Authenticated => is_authenticated = true,
                Event::Message(message) => has_message = message.payload == b"x",
                other => panic!("{other:?}"),
            }
        }
    }
    client.disconnect().await.unwrap();
    assert_eq!(scram.finished, 3);
}

async fn is_refused(port: u16, with_small_buffer: bool) -> Error<std::io::Error> {
    let (mut log, mut receive, mut send) = ([0; 256], [0; 256], [0; 256]);
    let mut session = Session::new(Version::V5, &mut log, &mut []);
    let (send, password) = if with_small_buffer {
        (&mut send[..128], &b"pencil"[..])
    } else {
        (&mut send[..], &b"pen"[..])
    };
    let buffers = Buffers {
        receive: &mut receive,
        send,
    };
    let mut scram = Scram::new(password);
    connect(port, &mut session, buffers, &mut scram)
        .await
        .err()
        .unwrap()
}

#[tokio::test]
async fn a_client_with_the_password_logs_in_by_scram_and_again_and_others_do_not() {
    let (server, port, _file) = start();
    let checks = async {
        logs_in_and_again(port).await;
        let error = is_refused(port, false).await;
        assert!(
            matches!(error, Error::Refused(ReasonCode::NOT_AUTHORIZED)),
            "{error}"
        );
        // What cannot be answered is said.
        let error = is_refused(port, true).await;
        assert!(error.to_string().contains("send buffer"), "{error}");
    };
    tokio::time::timeout(PATIENCE, checks).await.unwrap();
    server.shut_down();
}
