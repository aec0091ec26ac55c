use super::*;

#[test]
fn addresses_of_both_families_take_turns() {
    let of = |texts: &[&str]| -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    assert_eq!(
        interleave(of(&["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::3]:1"])),
        of(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"])
    );
    assert_eq!(
        interleave(of(&["1.1.1.1:1", "[::1]:1", "[::2]:1"])),
        of(&["1.1.1.1:1", "[::1]:1", "[::2]:1"])
    );
}

/// A runtime without threads.
fn run<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_io().enable_time().build().unwrap();
    runtime.block_on(future)
}

/// A listener whose queue is full: who connects hears nothing. With those who fill it.
#[cfg(target_os = "linux")]
async fn dead(address: &str) -> Option<(tokio::net::TcpListener, Vec<std::net::TcpStream>)> {
    let address: SocketAddr = address.parse().unwrap();
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.ok()?;
    socket.bind(address).ok()?;
    let listener = socket.listen(0).ok()?;
    let address = listener.local_addr().ok()?;
    let mut waiting = Vec::new();
    let limit = Duration::from_millis(100);
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, limit) {
        waiting.push(stream);
    }
    Some((listener, waiting))
}

#[cfg(target_os = "linux")]
#[test]
fn an_address_that_does_not_answer_holds_up_the_next_for_a_moment() {
    run(async {
        let v6 = dead("[::1]:0").await;
        if v6.is_none() {
            println!("there is no IPv6 here: the dead address is one of IPv4");
        }
        let (dead, _waiting) = match v6 {
            Some(dead) => dead,
            None => dead("127.0.0.1:0").await.unwrap(),
        };
        let live = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = vec![dead.local_addr().unwrap(), live.local_addr().unwrap()];
        let start = std::time::Instant::now();
        let stream = race(None, addresses).await.unwrap();
        let took = start.elapsed();
        assert_eq!(stream.peer_addr().unwrap(), live.local_addr().unwrap());
        assert!(took >= ATTEMPT_DELAY, "{took:?}");
        // The system alone would try for minutes.
        assert!(took < Duration::from_secs(5), "{took:?}");
    });
}

#[test]
fn an_address_that_refuses_holds_up_nobody_and_the_last_failure_is_told() {
    run(async {
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing = gone.local_addr().unwrap();
        drop(gone);
        let live = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = live.local_addr().unwrap();
        let stream = race(None, vec![refusing, address]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        let error = race(None, vec![refusing]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn tcp_keep_alive_is_what_was_asked_for() {
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::new("127.0.0.1", listener.local_addr().unwrap().port());
        let of = async |dialer: Dialer| {
            let link = open(&dialer, &server, Resolving::Here).await.unwrap();
            let link::Socket::Tcp(stream) = link.socket() else {
                panic!("it is TCP");
            };
            let socket = SockRef::from(stream);
            assert!(socket.tcp_nodelay().unwrap());
            let idle = socket.tcp_keepalive_time().unwrap();
            socket.keepalive().unwrap().then_some(idle)
        };
        assert_eq!(of(Dialer::new()).await, Some(Duration::from_secs(60)));
        let minutes = Some(Duration::from_secs(300));
        assert_eq!(of(Dialer::new().tcp_keep_alive(minutes)).await, minutes);
        assert_eq!(of(Dialer::new().tcp_keep_alive(None)).await, None);
    });
}
