use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::JoinHandle;

use midge_access::tokens::keys::FetchPurpose;

use super::*;

/// A server that answers what it is told to, connection by connection, and tells what it was asked.
struct Script {
    address: String,
    thread: JoinHandle<Vec<String>>,
}

impl Script {
    /// Each inner list is a connection, each text an answer on it.
    fn start(connections: Vec<Vec<String>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let thread = thread::spawn(move || {
            let mut requests = Vec::new();
            for answers in connections {
                let (mut stream, _) = listener.accept().unwrap();
                for answer in answers {
                    requests.push(read_request(&mut stream));
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            }
            requests
        });
        Self { address, thread }
    }

    fn one(answer: &str) -> Self {
        Self::start(vec![vec![answer.to_owned()]])
    }

    fn requests(self) -> Vec<String> {
        self.thread.join().unwrap()
    }
}

/// The head and as much of a body as `Content-Length` says.
fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "the request is cut off");
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

fn ok(headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn settings() -> FetchSettings {
    FetchSettings {
        threads: 1,
        ..FetchSettings::default()
    }
}

fn get(url: &str) -> Request {
    Request::Get {
        url: url.to_owned(),
    }
}

/// Asks and waits for the answer.
fn answer(fetcher: &Fetcher, request: Request) -> Result<Answer, FetchError> {
    let (sender, receiver) = mpsc::channel();
    fetcher.fetch(request, move |answer| sender.send(answer).unwrap())?;
    receiver.recv().unwrap()
}

fn fetch(settings: FetchSettings, request: Request) -> Result<Answer, FetchError> {
    answer(&Fetcher::start(settings).unwrap(), request)
}

#[test]
fn a_get_brings_status_body_and_max_age() {
    let server = Script::one(&ok(
        "Cache-Control: public, max-age=300\r\nAge: 100\r\n",
        "{}",
    ));
    let request = Fetch {
        url: format!("{}/keys", server.address),
        purpose: FetchPurpose::Keys,
    };
    let found = fetch(settings(), request.into()).unwrap();
    let expected = Answer {
        status: 200,
        max_age: Some(Duration::from_secs(200)),
        body: b"{}".to_vec(),
    };
    assert_eq!(found, expected);
    let request = server.requests().remove(0);
    assert!(request.starts_with("GET /keys HTTP/1.1\r\n"), "{request}");
    let lower = request.to_ascii_lowercase();
    assert!(
        lower.contains("\r\naccept: application/json\r\n"),
        "{request}"
    );
    assert!(lower.contains(concat!("\r\nuser-agent: midge/", env!("CARGO_PKG_VERSION"))));
    assert!(!lower.contains("accept-encoding"), "{request}");
}

#[test]
fn a_post_carries_body_type_and_authorization() {
    let server = Script::one(&ok("", "{\"active\":false}"));
    let post = Post {
        url: format!("{}/introspect", server.address),
        authorization: Some("Basic YTpi".to_owned()),
        content_type: "application/x-www-form-urlencoded",
        body: b"token=abc".to_vec(),
    };
    let found = fetch(settings(), post.into()).unwrap();
    assert_eq!(found.body, b"{\"active\":false}");
    let request = server.requests().remove(0);
    let lower = request.to_ascii_lowercase();
    assert!(
        request.starts_with("POST /introspect HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        lower.contains("\r\nauthorization: basic ytpi\r\n"),
        "{request}"
    );
    assert!(lower.contains("\r\ncontent-type: application/x-www-form-urlencoded\r\n"));
    assert!(request.ends_with("\r\n\r\ntoken=abc"), "{request}");
}

#[test]
fn a_status_that_is_no_success_is_an_answer() {
    for (line, status) in [
        ("401 Unauthorized", 401),
        ("404 Not Found", 404),
        ("503 x", 503),
    ] {
        let server = Script::one(&format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\nno"));
        let found = fetch(settings(), get(&server.address)).unwrap();
        assert_eq!((found.status, &*found.body), (status, &b"no"[..]));
    }
}

#[test]
fn a_connection_serves_one_request_after_another() {
    let server = Script::start(vec![vec![ok("", "1"), ok("", "2")]]);
    let fetcher = Fetcher::start(settings()).unwrap();
    for body in [b"1", b"2"] {
        let found = answer(&fetcher, get(&server.address)).unwrap();
        assert_eq!(found.body, body);
    }
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_redirect_is_not_followed_and_the_error_says_where_to() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let to = format!("http://{}/x", other.local_addr().unwrap());
    for status in [301, 302, 303, 307, 308] {
        let server = Script::one(&format!(
            "HTTP/1.1 {status} x\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
        ));
        let error = fetch(settings(), get(&server.address)).unwrap_err();
        assert!(
            matches!(&error, FetchError::Redirect(found) if *found == to),
            "{error}"
        );
    }
    assert!(other.accept().is_err(), "somebody was sent there");
}

#[test]
fn a_body_is_bounded_with_and_without_a_length() {
    let chunk = "x".repeat(1000);
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        format!("3e8\r\n{chunk}\r\n").repeat(2)
    );
    let until_close = format!("HTTP/1.1 200 OK\r\n\r\n{chunk}{chunk}");
    for text in [ok("", &chunk.repeat(2)), chunked, until_close] {
        for (body_bytes_max, fits) in [(1999, false), (2000, true)] {
            let server = Script::one(&text);
            let settings = FetchSettings {
                body_bytes_max,
                ..settings()
            };
            match fetch(settings, get(&server.address)) {
                Ok(found) => assert!(fits && found.body.len() == 2000),
                Err(error) => assert!(!fits && matches!(error, FetchError::TooLarge), "{error}"),
            }
        }
    }
}

#[test]
fn a_compressed_answer_is_not_unpacked() {
    let server = Script::one(&ok("Content-Encoding: gzip\r\n", "\x1f"));
    let found = fetch(settings(), get(&server.address)).unwrap();
    assert_eq!(found.body, b"\x1f");
}

#[test]
fn answers_that_are_no_http_are_errors() {
    let long_head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    for text in [
        "SSH-2.0-x\r\n\r\n",
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        &long_head,
    ] {
        let server = Script::one(text);
        let error = fetch(settings(), get(&server.address)).unwrap_err();
        assert!(
            matches!(error, FetchError::Failed(_)),
            "{text:?}: {error:?}"
        );
    }
}

#[test]
fn nobody_there_is_an_error() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = fetch(settings(), get(&format!("http://{address}"))).unwrap_err();
    assert!(matches!(error, FetchError::Failed(_)), "{error:?}");
}

#[test]
fn a_server_that_says_nothing_or_little_at_a_time_does_not_hold_up_a_thread() {
    for drips in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = read_request(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
            stream
                .set_read_timeout(Some(Duration::from_millis(5)))
                .unwrap();
            // Until the other side hangs up.
            loop {
                match stream.read(&mut [0]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    _ => return,
                }
                if drips && stream.write_all(b"x").is_err() {
                    return;
                }
            }
        });
        let settings = FetchSettings {
            total_timeout: Duration::from_millis(200),
            ..settings()
        };
        let error = fetch(settings, get(&url)).unwrap_err();
        assert!(
            matches!(error, FetchError::TimedOut("answering")),
            "{error:?}"
        );
        server.join().unwrap();
    }
}

#[test]
fn addresses_without_tls_are_refused_before_anything_is_sent() {
    let fetcher = Fetcher::start(settings()).unwrap();
    let error = answer(&fetcher, get("http://id.example.com/")).unwrap_err();
    assert!(matches!(error, FetchError::Address(AddressFault::Plain(_))));
}

#[test]
fn a_full_queue_refuses_and_a_stopped_fetcher_answers_what_waits() {
    let (entered, has_entered) = mpsc::channel();
    let (release, wait) = mpsc::channel::<()>();
    let server = Script::one(&ok("", ""));
    let fetcher = Fetcher::start(FetchSettings {
        queue_max: 1,
        ..settings()
    })
    .unwrap();
    // The only thread is kept in its callback.
    fetcher
        .fetch(get(&server.address), move |_| {
            entered.send(()).unwrap();
            let _ = wait.recv();
        })
        .unwrap();
    has_entered.recv().unwrap();
    let (sender, answers) = mpsc::channel();
    fetcher
        .fetch(get(&server.address), move |answer| {
            sender.send(answer).unwrap();
        })
        .unwrap();
    let refused = fetcher.fetch(get(&server.address), |_| panic!("it was refused"));
    assert!(matches!(refused, Err(FetchError::Busy)));
    drop(fetcher);
    release.send(()).unwrap();
    let found = answers.recv().unwrap();
    assert!(matches!(found, Err(FetchError::Stopped)), "{found:?}");
    // The queue is gone with its thread.
    assert!(answers.recv().is_err());
}

#[test]
fn a_request_that_waited_too_long_is_not_sent() {
    let fetcher = Fetcher::start(FetchSettings {
        total_timeout: Duration::ZERO,
        ..settings()
    })
    .unwrap();
    let error = answer(&fetcher, get("http://127.0.0.1:9")).unwrap_err();
    assert!(matches!(error, FetchError::TimedOut("in the queue")));
}

/// An HTTPS server with a certificate of its own for `localhost`; returns its address and certificate.
fn tls_server(connections: usize) -> (String, Vec<u8>, JoinHandle<()>) {
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = made.cert.pem().into_bytes();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || {
        for _ in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = rustls::StreamOwned::new(connection, stream);
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && tls.read(&mut byte).is_ok_and(|n| n == 1) {
                request.push(byte[0]);
            }
            let _ = tls.write_all(ok("", "safe").as_bytes());
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    });
    (format!("https://localhost:{port}/"), pem, thread)
}

#[test]
fn a_certificate_must_be_of_an_authority_that_is_believed() {
    let (url, pem, server) = tls_server(2);
    let believing = FetchSettings {
        roots: Roots::Pem(pem),
        ..settings()
    };
    let found = fetch(believing, get(&url)).unwrap();
    assert_eq!(found.body, b"safe");
    let error = fetch(settings(), get(&url)).unwrap_err();
    assert!(matches!(error, FetchError::Certificate(_)), "{error:?}");
    server.join().unwrap();
    let wrong = FetchSettings {
        roots: Roots::Pem(b"-----BEGIN CERTIFICATE-----\n!".to_vec()),
        ..settings()
    };
    let error = fetch(wrong, get(&url)).unwrap_err();
    assert!(matches!(error, FetchError::Certificate(_)), "{error:?}");
}

#[test]
fn debug_output_shows_no_secret() {
    let request = Request::Post(Post {
        url: "https://a/".to_owned(),
        authorization: Some("geheim".to_owned()),
        content_type: "application/json",
        body: b"geheim".to_vec(),
    });
    assert_eq!(format!("{request:?}"), "Request(\"https://a/\")");
}
