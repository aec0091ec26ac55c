//! Messages in WebSocket frames cost no allocation, and who idles costs little memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use midge_transport::websocket::WebSocket;

/// The system's allocator, counting the calls of each thread.
struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending has no counter any more, and nothing to count.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
}

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`, which is the same here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above; the pointer came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The number of allocations of this thread during `work`.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = CALLS.get();
    work();
    CALLS.get() - before
}

#[test]
fn messages_in_frames_are_sent_and_received_without_allocating() {
    for length in [0, 128, 20_000] {
        let message = vec![7; length];
        let mut client = WebSocket::client([1; 16]);
        let mut server = WebSocket::server();
        let (mut wire, mut reply) = (Vec::new(), Vec::new());
        client.send(&message, &mut wire);
        let mut round = || {
            wire.clear();
            client.send(&message, &mut wire);
            // Cut in the middle, headers as well.
            let half = wire.len() / 2;
            let (first, second) = wire.split_at_mut(half);
            server.receive(first, &mut reply);
            server.receive(second, &mut reply);
            wire.clear();
            server.send(&message, &mut wire);
            client.receive(&mut wire, &mut reply);
        };
        assert_eq!(
            allocations(|| (0..100).for_each(|_| round())),
            0,
            "{length} bytes"
        );
    }
}

/// The memory of TLS, counted from outside, since much of it is C's.
#[cfg(target_os = "linux")]
#[expect(clippy::unwrap_used, reason = "a test ends at what it did not expect")]
mod idle {
    use std::fs;
    use std::sync::Arc;

    use midge_transport::tls::{
        ClientTls, ClientTlsOptions, DefaultTimeProvider, PemFile, ServerCertificate, ServerTls,
        ServerTlsOptions, TicketKeys, Tls,
    };

    /// All memory of this process.
    fn resident() -> usize {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes: usize = line
            .unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        kilobytes * 1024
    }

    #[test]
    fn an_idle_tls_connection_costs_less_than_12_kib() {
        const CONNECTIONS: usize = 300;
        let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (chain, key) = (identity.cert.pem(), identity.signing_key.serialize_pem());
        let file = |text| PemFile { name: "", text };
        let certificates = [ServerCertificate {
            chain: file(chain.as_bytes()),
            key: file(key.as_bytes()),
        }];
        let tickets = Arc::new(TicketKeys::new(&[[1; 32]], 3600));
        let options = ServerTlsOptions::new(&certificates, tickets, Arc::new(DefaultTimeProvider));
        let server = ServerTls::new(&options).unwrap();
        let cas = [file(chain.as_bytes())];
        let client = ClientTls::new(&ClientTlsOptions::new(&cas, Arc::new(DefaultTimeProvider)));
        let client = client.unwrap();
        let open = || {
            let (mut to_server, mut to_client, mut plain) = (Vec::new(), Vec::new(), Vec::new());
            let mut theirs = Tls::connect(&client, "localhost", &mut to_server).unwrap();
            let mut ours = Tls::accept(&server).unwrap();
            while !to_server.is_empty() {
                ours.receive(&mut to_server, &mut plain, &mut to_client)
                    .unwrap();
                to_server.clear();
                theirs
                    .receive(&mut to_client, &mut plain, &mut to_server)
                    .unwrap();
                to_client.clear();
            }
            assert!(ours.is_open());
            ours
        };
        // What is made once is not counted.
        drop([open(), open(), open()]);
        let before = resident();
        let connections: Vec<Tls> = (0..CONNECTIONS).map(|_| open()).collect();
        let each = (resident() - before) / connections.len();
        assert!(each < 12 * 1024, "{each} bytes");
    }
}
