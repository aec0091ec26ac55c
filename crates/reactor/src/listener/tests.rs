use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};

use super::*;
use crate::testing::{Directory, eventually, in_own_process, is_closed, read_bytes, wait_for};
use crate::{Family, Key, Poller};

fn open(endpoint: &Endpoint) -> Result<Listening, ListenError> {
    listen(endpoint, LISTEN_BACKLOG, |_| ())
}

fn open_one(endpoint: &Endpoint) -> Listener {
    open(endpoint).unwrap().listeners.pop().unwrap()
}

fn loopback() -> Listener {
    open_one(&Endpoint::tcp(Some("127.0.0.1"), 0))
}

fn ip(listener: &Listener) -> SocketAddr {
    match listener.address() {
        BindAddress::Ip(address) => *address,
        BindAddress::Unix(path) => panic!("a TCP listener, not {}", path.display()),
    }
}

fn unix(path: &Path) -> Endpoint {
    Endpoint::Unix { path: path.into() }
}

fn accept(listener: &mut Listener, most: usize) -> (AcceptReport, Vec<Accepted>) {
    let mut accepted = Vec::new();
    let mut reserve = DescriptorReserve::new().unwrap();
    let report = listener.accept(most, &mut reserve, &mut accepted).unwrap();
    (report, accepted)
}

fn accept_one(listener: &mut Listener) -> Accepted {
    eventually(|| accept(listener, 1).1.pop())
}

/// This machine may have IPv6 switched off; then there is nothing to test.
fn has_ipv6() -> bool {
    std::net::TcpListener::bind("[::1]:0").is_ok()
}

#[test]
fn a_connection_arrives_with_its_address_and_does_not_block() {
    let mut poller = Poller::new(8).unwrap();
    let mut listener = loopback();
    let key = Key::reserved(1).unwrap();
    poller.register_readable(&mut listener, key).unwrap();
    let (report, none) = accept(&mut listener, 8);
    assert!(none.is_empty());
    assert_eq!(report.state, AcceptState::Drained);
    let mut client = TcpStream::connect(ip(&listener)).unwrap();
    wait_for(&mut poller, key, |event| event.readable);
    let mut accepted = accept_one(&mut listener);
    assert_eq!(accepted.peer, PeerAddress::Ip(client.local_addr().unwrap()));
    assert_eq!(
        accepted.stream.read(&mut [0; 8]).unwrap(),
        crate::Received::Blocked
    );
    io::Write::write_all(&mut client, b"hi").unwrap();
    assert_eq!(read_bytes(&mut accepted.stream, 2), b"hi");
}

#[test]
fn accepting_stops_at_the_bound_of_a_batch_and_goes_on() {
    let mut listener = loopback();
    let _clients: Vec<_> = (0..5)
        .map(|_| TcpStream::connect(ip(&listener)).unwrap())
        .collect();
    let (report, first) = accept(&mut listener, 3);
    assert_eq!((report.state, first.len()), (AcceptState::More, 3));
    let (report, rest) = accept(&mut listener, 3);
    assert_eq!((report.state, rest.len()), (AcceptState::Drained, 2));
}

#[test]
fn connections_that_vanish_before_the_accept_do_no_harm() {
    let mut listener = loopback();
    for _ in 0..50 {
        let client = Socket::from(TcpStream::connect(ip(&listener)).unwrap());
        client.set_linger(Some(Duration::ZERO)).unwrap();
    }
    let survivor = TcpStream::connect(ip(&listener)).unwrap();
    let wanted = PeerAddress::Ip(survivor.local_addr().unwrap());
    eventually(|| {
        let (_, accepted) = accept(&mut listener, 16);
        accepted.iter().any(|one| one.peer == wanted).then_some(())
    });
}

#[test]
fn each_family_has_a_socket_of_its_own_on_one_port() {
    if !has_ipv6() {
        return;
    }
    let mut heard = Vec::new();
    let listening = listen(&Endpoint::tcp(None, 0), LISTEN_BACKLOG, |address| {
        heard.push(address.clone());
    })
    .unwrap();
    assert!(listening.skipped.is_empty());
    let mut listeners = listening.listeners;
    assert_eq!(listeners.len(), 2);
    assert!(heard.len() >= 2);
    let port = ip(&listeners[0]).port();
    assert_eq!(ip(&listeners[1]).port(), port);
    let v4 = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let v6 = TcpStream::connect(("::1", port)).unwrap();
    for (listener, client) in listeners.iter_mut().zip([v4, v6]) {
        let peer = accept_one(listener).peer;
        assert_eq!(peer, PeerAddress::Ip(client.local_addr().unwrap()));
    }
}

#[test]
fn an_address_that_is_not_here_is_skipped_only_if_another_is() {
    // The first is set aside for documentation: no machine has it.
    let nowhere = BindAddress::Ip("192.0.2.1:0".parse().unwrap());
    let here = BindAddress::Ip("127.0.0.1:0".parse().unwrap());
    let options = BindOptions::default();
    let both = open_all(&[nowhere.clone(), here], &options, &mut |_| ()).unwrap();
    assert_eq!((both.listeners.len(), both.skipped.len()), (1, 1));
    let error = open_all(&[nowhere], &options, &mut |_| ()).unwrap_err();
    assert!(matches!(error, ListenError::NotAvailable(..)));
    assert!(error.to_string().contains("address 192.0.2.1"), "{error}");
}

#[test]
fn a_taken_port_is_an_error_that_names_it_and_the_way_out() {
    let taken = loopback();
    let port = ip(&taken).port();
    let error = open(&Endpoint::tcp(Some("127.0.0.1"), port)).unwrap_err();
    assert!(matches!(error, ListenError::InUse(_)));
    let line = error.to_string();
    let start = format!("Error: Address already in use (port {port}, address 127.0.0.1). ");
    assert!(line.starts_with(&start), "{line}");
    assert!(line.contains("choose another port"), "{line}");
}

#[test]
fn a_port_can_be_taken_again_at_once_after_its_connections() {
    let mut listener = loopback();
    let address = ip(&listener);
    let client = TcpStream::connect(address).unwrap();
    // Our end closes first, so that the port's old connection lingers on our side.
    drop(accept_one(&mut listener));
    drop(listener);
    drop(client);
    open_one(&Endpoint::tcp(Some("127.0.0.1"), address.port()));
}

#[test]
fn an_interface_lets_in_what_comes_through_it() {
    if cfg!(not(target_os = "linux")) {
        return;
    }
    let endpoint = |interface: &str| Endpoint::Tcp {
        host: None,
        port: 0,
        family: Family::V4,
        interface: Some(interface.to_owned()),
    };
    let error = open(&endpoint("no-such-if")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Error: Interface no-such-if does not exist. `ip link` lists those that do."
    );
    match open(&endpoint("lo")) {
        Ok(mut listening) => {
            let listener = &mut listening.listeners[0];
            let client = TcpStream::connect(("127.0.0.1", ip(listener).port())).unwrap();
            let peer = accept_one(listener).peer;
            assert_eq!(peer, PeerAddress::Ip(client.local_addr().unwrap()));
        }
        // Systems before Linux 5.7 ask for a capability.
        Err(error) => assert!(matches!(error, ListenError::Interface(..)), "{error}"),
    }
}

#[test]
fn a_unix_socket_takes_connections_and_its_file_goes_with_it() {
    let directory = Directory::new();
    let path = directory.join("mqtt.sock");
    let mut listener = open_one(&unix(&path));
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        UNIX_SOCKET_MODE
    );
    let mut client = UnixStream::connect(&path).unwrap();
    let mut accepted = accept_one(&mut listener);
    assert_eq!(accepted.peer, PeerAddress::Unix(path.as_path().into()));
    assert_eq!(accepted.stream.write(b"hi").unwrap(), crate::Sent::Bytes(2));
    let mut received = [0; 2];
    client.read_exact(&mut received).unwrap();
    drop(listener);
    assert!(!path.exists());
}

#[test]
fn the_socket_of_a_dead_broker_is_taken_over() {
    let directory = Directory::new();
    let path = directory.join("mqtt.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "as a killed process leaves it");
    let mut listener = open_one(&unix(&path));
    let _client = UnixStream::connect(&path).unwrap();
    accept_one(&mut listener);
}

#[test]
fn the_socket_of_a_living_broker_is_left_alone() {
    let directory = Directory::new();
    let path = directory.join("mqtt.sock");
    let mut living = open_one(&unix(&path));
    let error = open(&unix(&path)).unwrap_err();
    assert!(matches!(error, ListenError::InUse(_)));
    assert!(error.to_string().contains("choose another path"), "{error}");
    let _client = UnixStream::connect(&path).unwrap();
    accept_one(&mut living);
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let directory = Directory::new();
    let path = directory.join("precious");
    fs::write(&path, "data").unwrap();
    let link = directory.join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for place in [&path, &link, &directory.join("")] {
        let error = open(&unix(place)).unwrap_err();
        assert!(matches!(error, ListenError::NotASocket(_)), "{error}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "data");
}

#[test]
fn a_successor_keeps_its_file_when_the_old_listener_ends() {
    let directory = Directory::new();
    let path = directory.join("mqtt.sock");
    let old = open_one(&unix(&path));
    fs::remove_file(&path).unwrap();
    let mut new = open_one(&unix(&path));
    drop(old);
    let _client = UnixStream::connect(&path).unwrap();
    accept_one(&mut new);
}

#[test]
fn a_path_that_is_too_long_or_has_no_directory_is_an_error_that_names_it() {
    let directory = Directory::new();
    let long = directory.join("x".repeat(200));
    let error = open(&unix(&long)).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("Error: Path to unix socket is too long"),
        "{error}"
    );
    let nowhere = directory.join("missing/mqtt.sock");
    let error = open(&unix(&nowhere)).unwrap_err().to_string();
    assert!(error.contains("No such file or directory"), "{error}");
    assert!(error.contains("missing/mqtt.sock"), "{error}");
}

#[test]
fn without_descriptors_connections_are_turned_away_and_later_ones_served() {
    if !in_own_process(
        "listener::tests::without_descriptors_connections_are_turned_away_and_later_ones_served",
    ) {
        return;
    }
    setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
    let mut listener = loopback();
    let mut reserve = DescriptorReserve::new().unwrap();
    let connect = || {
        let client = TcpStream::connect(ip(&listener)).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        client
    };
    let mut clients: Vec<_> = (0..3).map(|_| connect()).collect();
    let mut hoard = Vec::new();
    hoard.extend(std::iter::from_fn(|| fs::File::open("/dev/null").ok()));

    let mut accepted = Vec::new();
    let report = eventually(|| {
        let report = listener.accept(16, &mut reserve, &mut accepted).unwrap();
        (report.turned_away > 0).then_some(report)
    });
    assert_eq!(report.state, AcceptState::Exhausted);
    assert!(accepted.is_empty());
    // Those that had not been turned away in the first batch are in the next.
    let mut turned_away = report.turned_away;
    eventually(|| {
        if turned_away < 3 {
            turned_away += listener
                .accept(16, &mut reserve, &mut accepted)
                .unwrap()
                .turned_away;
        }
        (turned_away == 3).then_some(())
    });
    for client in &mut clients {
        assert!(
            is_closed(&client.read(&mut [0; 8])),
            "closed, not left to hang"
        );
    }
    drop(clients);
    assert!(
        fs::File::open("/dev/null").is_ok(),
        "three descriptors of the clients are free"
    );

    hoard.clear();
    let client = TcpStream::connect(ip(&listener)).unwrap();
    eventually(|| {
        let report = listener.accept(16, &mut reserve, &mut accepted).unwrap();
        (report.state == AcceptState::Drained && !accepted.is_empty()).then_some(())
    });
    assert_eq!(
        accepted[0].peer,
        PeerAddress::Ip(client.local_addr().unwrap())
    );
}

#[test]
fn connections_leave_descriptors_for_files() {
    if !in_own_process("listener::tests::connections_leave_descriptors_for_files") {
        return;
    }
    setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
    let mut listener = loopback();
    let mut reserve = DescriptorReserve::new().unwrap();
    // The clients have their descriptors before the limit is near, as those of other machines.
    let mut clients: Vec<_> = (0..10)
        .map(|_| TcpStream::connect(ip(&listener)).unwrap())
        .collect();
    let mut hoard: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
    // As many are free as are kept back, and one more.
    hoard.truncate(hoard.len() - 9);
    let mut accepted = Vec::new();
    let mut turned_away = 0;
    eventually(|| {
        let report = listener.accept(16, &mut reserve, &mut accepted).unwrap();
        turned_away += report.turned_away;
        (turned_away + accepted.len() == clients.len()).then_some(())
    });
    assert_eq!((accepted.len(), turned_away), (1, 9));
    for client in clients.iter_mut().skip(1) {
        assert!(is_closed(&client.read(&mut [0; 8])));
    }
    let files: Vec<_> = (0..8)
        .map(|_| fs::File::open("/dev/null").unwrap())
        .collect();
    assert_eq!(files.len(), 8);
}

#[test]
fn a_batch_of_turning_away_is_bounded_too() {
    if !in_own_process("listener::tests::a_batch_of_turning_away_is_bounded_too") {
        return;
    }
    setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
    let mut listener = loopback();
    let mut reserve = DescriptorReserve::new().unwrap();
    let _clients: Vec<_> = (0..6)
        .map(|_| TcpStream::connect(ip(&listener)).unwrap())
        .collect();
    let mut hoard = Vec::new();
    hoard.extend(std::iter::from_fn(|| fs::File::open("/dev/null").ok()));
    let report = listener.accept(4, &mut reserve, &mut Vec::new()).unwrap();
    assert_eq!(
        (report.state, report.turned_away),
        (AcceptState::Exhausted, 4)
    );
}

#[test]
fn a_privileged_port_names_the_capability() {
    if !in_own_process("listener::tests::a_privileged_port_names_the_capability") {
        return;
    }
    if crate::running_as_root() {
        crate::drop_privileges_to_ids(Some(54_321), Some(54_321)).unwrap();
    }
    match open(&Endpoint::tcp(Some("127.0.0.1"), 1)) {
        Err(error) => {
            assert!(matches!(error, ListenError::Denied(_)), "{error}");
            assert!(
                error.to_string().contains("CAP_NET_BIND_SERVICE"),
                "{error}"
            );
        }
        // Containers often let anyone have these ports.
        Ok(_) => assert!(
            fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
                .is_ok_and(|first| first.trim().parse::<u16>().is_ok_and(|first| first <= 1))
        ),
    }
}

#[test]
fn errors_of_accept_are_told_apart() {
    let check = |errno: Errno, fault: Fault| {
        assert_eq!(
            Fault::of(&io::Error::from_raw_os_error(errno as i32)),
            fault,
            "{errno}"
        );
    };
    check(Errno::EAGAIN, Fault::NoneWaits);
    check(Errno::EMFILE, Fault::Exhausted);
    check(Errno::ENFILE, Fault::Exhausted);
    check(Errno::ENOMEM, Fault::Exhausted);
    check(Errno::ECONNABORTED, Fault::Passing);
    check(Errno::EINTR, Fault::Passing);
    check(Errno::EPROTO, Fault::Passing);
    check(Errno::EBADF, Fault::Fatal);
    check(Errno::EINVAL, Fault::Fatal);
}
