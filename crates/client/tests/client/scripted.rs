//! A broker that does as it is told, for what Midge does not do.

use midge_client::{
    Authenticator, BoxFuture, Client, ConnectionError, CredentialRequest, Credentials,
    CredentialsError, Event, Occasion, Options, ReasonCode,
};
use midge_codec::{Auth, ConnAck, Connect, Packet, Properties, Property, Version};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::soon;

struct Scripted {
    stream: TcpStream,
    inbound: Vec<u8>,
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    (listener, url)
}

impl Scripted {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = soon(listener.accept()).await.unwrap();
        Self {
            stream,
            inbound: Vec::new(),
        }
    }

    /// Shows the next packet.
    async fn hear<R>(&mut self, show: impl FnOnce(&Packet<'_>) -> R) -> R {
        loop {
            if let Some((packet, length)) = Packet::read(&self.inbound, Version::V5).unwrap() {
                let shown = show(&packet);
                self.inbound.drain(..length);
                return shown;
            }
            let mut buffer = [0; 1024];
            let count = soon(self.stream.read(&mut buffer)).await.unwrap();
            assert!(count > 0, "the client has closed");
            self.inbound.extend_from_slice(&buffer[..count]);
        }
    }

    async fn hear_connect<R>(&mut self, show: impl FnOnce(&Connect<'_>) -> R) -> R {
        self.hear(|packet| match packet {
            Packet::Connect(connect) => show(connect),
            other => panic!("{other:?}"),
        })
        .await
    }

    async fn say(&mut self, packet: Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(Version::V5, &mut bytes).unwrap();
        soon(self.stream.write_all(&bytes)).await.unwrap();
    }

    async fn connack(&mut self, reason: ReasonCode, list: &[Property<'_>]) {
        self.say(Packet::ConnAck(ConnAck {
            session_present: false,
            reason,
            properties: Properties::from_list(list),
        }))
        .await;
    }

    async fn auth(&mut self, reason: ReasonCode, data: &[u8]) {
        let list = [
            Property::AuthenticationMethod("TEST"),
            Property::AuthenticationData(data),
        ];
        self.say(Packet::Auth(Auth {
            reason,
            properties: Properties::from_list(&list),
        }))
        .await;
    }

    async fn hear_auth(&mut self) -> (ReasonCode, Vec<u8>) {
        self.hear(|packet| match packet {
            Packet::Auth(auth) => (auth.reason, data(auth.properties)),
            other => panic!("{other:?}"),
        })
        .await
    }
}

fn data(properties: Properties<'_>) -> Vec<u8> {
    let data = properties.iter().find_map(|property| match property {
        Property::AuthenticationData(data) => Some(data.to_vec()),
        _ => None,
    });
    data.unwrap_or_default()
}

struct Echo;

impl Authenticator for Echo {
    fn method(&self) -> String {
        "TEST".to_owned()
    }

    fn start(&mut self, occasion: Occasion) -> BoxFuture<'_, Result<Vec<u8>, CredentialsError>> {
        Box::pin(async move { Ok(format!("{occasion:?}").into_bytes()) })
    }

    fn answer(&mut self, mut data: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, CredentialsError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            data.reverse();
            Ok(data)
        })
    }

    fn finish(&mut self, data: &[u8]) -> Result<(), CredentialsError> {
        match data {
            b"proof" => Ok(()),
            _ => Err("the broker has no proof".into()),
        }
    }
}

#[tokio::test]
async fn enhanced_authentication_goes_step_by_step_and_again() {
    let (listener, url) = listen().await;
    let options = Options::new(&url).unwrap().authenticator(|| Echo);
    let connecting = tokio::spawn(Client::connect(options));
    let mut broker = Scripted::accept(&listener).await;
    let first = broker
        .hear_connect(|connect| data(connect.properties))
        .await;
    assert_eq!(first, b"Connect");
    broker
        .auth(ReasonCode::CONTINUE_AUTHENTICATION, b"abc")
        .await;
    let answer = broker.hear_auth().await;
    assert_eq!(
        answer,
        (ReasonCode::CONTINUE_AUTHENTICATION, b"cba".to_vec())
    );
    let proof = [
        Property::AuthenticationMethod("TEST"),
        Property::AuthenticationData(b"proof"),
    ];
    broker.connack(ReasonCode::SUCCESS, &proof).await;
    let client = soon(connecting).await.unwrap().unwrap();
    let again = client.clone();
    let again = tokio::spawn(async move { again.reauthenticate().await });
    let asked = broker.hear_auth().await;
    assert_eq!(
        asked,
        (ReasonCode::RE_AUTHENTICATE, b"Reauthenticate".to_vec())
    );
    broker.auth(ReasonCode::SUCCESS, b"proof").await;
    soon(again).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_broker_without_proof_is_not_connected_to() {
    let (listener, url) = listen().await;
    let options = Options::new(&url).unwrap().authenticator(|| Echo);
    let connecting = tokio::spawn(Client::connect(options));
    let mut broker = Scripted::accept(&listener).await;
    broker.hear_connect(|_| ()).await;
    broker.connack(ReasonCode::SUCCESS, &[]).await;
    let error = soon(connecting).await.unwrap().err().unwrap();
    assert!(matches!(&error, ConnectionError::Authentication(why) if why.contains("no proof")));
}

#[tokio::test]
async fn tokens_are_asked_for_at_every_attempt_and_after_a_refusal() {
    let (listener, url) = listen().await;
    let requests = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::clone(&requests);
    let source = move |request: CredentialRequest| {
        let mut asked = asked.lock().unwrap();
        asked.push(request.refused.map(|refusal| refusal.reason));
        let token = format!("token {}", asked.len());
        async move { Ok(Credentials::new("oauth", token)) }
    };
    let options = Options::new(&url)
        .unwrap()
        .back_off(Duration::from_millis(1), Duration::from_millis(2))
        .credentials_from(source);
    let client = Client::start(options).unwrap();
    let mut events = client.events();
    for (number, reason) in [
        ReasonCode::NOT_AUTHORIZED,
        ReasonCode::SUCCESS,
        ReasonCode::BAD_USER_NAME_OR_PASSWORD,
        ReasonCode::BAD_USER_NAME_OR_PASSWORD,
    ]
    .into_iter()
    .enumerate()
    {
        let mut broker = Scripted::accept(&listener).await;
        let password = broker
            .hear_connect(|connect| connect.password.map(<[u8]>::to_vec))
            .await;
        let expected = format!("token {}", number + 1).into_bytes();
        assert_eq!(password, Some(expected));
        broker.connack(reason, &[]).await;
    }
    let refused = loop {
        if let Some(Event::Closed(ConnectionError::Refused(refusal))) = soon(events.next()).await {
            break refusal;
        }
    };
    assert_eq!(refused.reason, ReasonCode::BAD_USER_NAME_OR_PASSWORD);
    assert!(client.ending().is_some());
    let refusals = requests.lock().unwrap();
    let not_authorized = Some(ReasonCode::NOT_AUTHORIZED);
    let bad = Some(ReasonCode::BAD_USER_NAME_OR_PASSWORD);
    assert_eq!(*refusals, [None, not_authorized, None, bad]);
}

#[tokio::test]
async fn further_servers_are_tried_in_turn_and_the_brokers_words_are_passed_on() {
    let (first, url) = listen().await;
    let (second, other) = listen().await;
    let options = Options::new(&url)
        .unwrap()
        .or_server(&other)
        .unwrap()
        .back_off(Duration::from_millis(1), Duration::from_millis(2));
    let client = Client::start(options).unwrap();
    let mut events = client.events();
    let mut broker = Scripted::accept(&first).await;
    broker.hear_connect(|_| ()).await;
    let words = [
        Property::ReasonString("full house"),
        Property::ServerReference("b2"),
    ];
    broker.connack(ReasonCode::SERVER_BUSY, &words).await;
    let mut broker = Scripted::accept(&second).await;
    broker
        .hear_connect(|connect| assert!(connect.clean_start))
        .await;
    let list = [
        Property::AssignedClientIdentifier("chosen"),
        Property::ServerKeepAlive(7),
        Property::ResponseInformation("answers/"),
    ];
    broker.connack(ReasonCode::SUCCESS, &list).await;
    let failed = soon(events.next()).await;
    let Some(Event::ConnectFailed(ConnectionError::Refused(refusal))) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(refusal.reason_string.as_deref(), Some("full house"));
    assert_eq!(refusal.server_reference.as_deref(), Some("b2"));
    let connected = loop {
        if let Some(Event::Connected(connected)) = soon(events.next()).await {
            break connected;
        }
    };
    assert_eq!(connected.client_id, "chosen");
    assert_eq!(connected.keep_alive_secs, 7);
    // The next connection goes on with what this one began.
    drop(broker);
    let mut next = tokio::select! {
        next = Scripted::accept(&first) => next,
        next = Scripted::accept(&second) => next,
    };
    next.hear_connect(|connect| {
        assert_eq!(connect.client_id, "chosen");
        assert!(!connect.clean_start);
    })
    .await;
}

#[tokio::test]
async fn a_connection_through_a_proxy_reaches_the_broker() {
    let (listener, url) = listen().await;
    let proxy = url.replace("mqtt://", "http://");
    let options = Options::new("mqtt://broker.example:1884")
        .unwrap()
        .proxy(&proxy)
        .unwrap();
    let connecting = tokio::spawn(Client::connect(options));
    let mut broker = Scripted::accept(&listener).await;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(soon(broker.stream.read_u8()).await.unwrap());
    }
    assert!(request.starts_with(b"CONNECT broker.example:1884 HTTP/1.1\r\n"));
    soon(broker.stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n"))
        .await
        .unwrap();
    broker.hear_connect(|_| ()).await;
    broker.connack(ReasonCode::SUCCESS, &[]).await;
    soon(connecting).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_broker_that_goes_silent_is_given_up() {
    let (listener, url) = listen().await;
    let options = Options::new(&url)
        .unwrap()
        .keep_alive(Duration::from_secs(1))
        .without_reconnect();
    let connecting = tokio::spawn(Client::connect(options));
    let mut broker = Scripted::accept(&listener).await;
    broker.hear_connect(|_| ()).await;
    broker.connack(ReasonCode::SUCCESS, &[]).await;
    let client = soon(connecting).await.unwrap().unwrap();
    let mut events = client.events();
    broker
        .hear(|packet| assert_eq!(*packet, Packet::PingReq))
        .await;
    let closed = loop {
        if let Some(Event::Closed(error)) = soon(events.next()).await {
            break error;
        }
    };
    assert!(matches!(closed, ConnectionError::TimedOut), "{closed}");
}

/// Never comes to an answer.
struct Brooder;

impl Authenticator for Brooder {
    fn method(&self) -> String {
        "TEST".to_owned()
    }

    fn start(&mut self, _: Occasion) -> BoxFuture<'_, Result<Vec<u8>, CredentialsError>> {
        Box::pin(async { Ok(b"first".to_vec()) })
    }

    fn answer(&mut self, _: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, CredentialsError>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn an_authenticator_without_an_answer_holds_up_no_further_attempt_and_no_end() {
    let (listener, url) = listen().await;
    let options = Options::new(&url)
        .unwrap()
        .authenticator(|| Brooder)
        .back_off(Duration::from_millis(1), Duration::from_millis(5));
    let client = Client::start(options).unwrap();
    for _ in 0..3 {
        let mut broker = Scripted::accept(&listener).await;
        let first = broker
            .hear_connect(|connect| data(connect.properties))
            .await;
        assert_eq!(first, b"first");
        broker
            .auth(ReasonCode::CONTINUE_AUTHENTICATION, b"abc")
            .await;
    }
    soon(client.disconnect().into_future()).await.unwrap();
}
