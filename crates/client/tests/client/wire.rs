//! A link between client and broker that is cut, goes silent or is slow, as a test wants it.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// What happens to the bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    Good,
    /// Each connection ends after some bytes, from the first number to below the second.
    Cut(usize, usize),
    /// So many bytes pass in a millisecond, each way.
    Slow(usize),
}

pub(crate) struct Wire {
    pub(crate) port: u16,
    state: Arc<State>,
}

struct State {
    target: u16,
    manner: Mutex<Manner>,
    accepted: AtomicUsize,
    /// Connections up to this number are dead, and nobody is told.
    silent: AtomicUsize,
    random: Mutex<u64>,
}

impl Wire {
    /// One to this port, for as long as the runtime of the test.
    pub(crate) async fn to(target: u16, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            target,
            manner: Mutex::new(manner),
            accepted: AtomicUsize::new(0),
            silent: AtomicUsize::new(0),
            random: Mutex::new(0x1234_5678_9ABC_DEF1),
        });
        tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { port, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// How connections that are made from now on are.
    pub(crate) fn set(&self, manner: Manner) {
        *self.state.manner.lock().unwrap() = manner;
    }

    /// From now on, nothing passes on the connections that there are, and neither end is told.
    pub(crate) fn silence(&self) {
        let accepted = self.state.accepted.load(Ordering::SeqCst);
        self.state.silent.store(accepted, Ordering::SeqCst);
    }

    /// How many connections were made.
    pub(crate) fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }
}

impl State {
    /// From `least` to below `most` (xorshift).
    fn between(&self, least: usize, most: usize) -> usize {
        let mut random = self.random.lock().unwrap();
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        least + usize::try_from(*random % (most - least) as u64).unwrap()
    }
}

/// One connection.
struct Pair {
    state: Arc<State>,
    number: usize,
    slow: Option<usize>,
    /// Bytes until the cut.
    left: AtomicUsize,
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        let number = state.accepted.fetch_add(1, Ordering::SeqCst) + 1;
        let manner = *state.manner.lock().unwrap();
        let (slow, left) = match manner {
            Manner::Good => (None, usize::MAX),
            Manner::Cut(least, most) => (None, state.between(least, most)),
            Manner::Slow(rate) => (Some(rate), usize::MAX),
        };
        let pair = Pair {
            state: Arc::clone(&state),
            number,
            slow,
            left: AtomicUsize::new(left),
        };
        tokio::spawn(carry(pair, client));
    }
}

async fn carry(pair: Pair, client: TcpStream) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", pair.state.target)).await?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut up = pin!(pair.pass(from_client, to_server));
    let mut down = pin!(pair.pass(from_server, to_client));
    // What ends in good order ends in one direction; a cut ends both.
    tokio::select! {
        ended = &mut up => match ended {
            Ok(End::Over) => down.await.map(|_| ()),
            _ => Ok(()),
        },
        ended = &mut down => match ended {
            Ok(End::Over) => up.await.map(|_| ()),
            _ => Ok(()),
        },
    }
}

enum End {
    Over,
    Cut,
}

impl Pair {
    /// Passes bytes on in one direction.
    async fn pass(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<End> {
        let mut buffer = vec![0; 4096];
        loop {
            let room = self.slow.map_or(buffer.len(), |rate| rate.min(4096));
            let count = from.read(&mut buffer[..room]).await.unwrap_or(0);
            if self.number <= self.state.silent.load(Ordering::SeqCst) {
                // Both ends stay open for ever: nobody is told.
                std::future::pending::<()>().await;
            }
            if count == 0 {
                to.shutdown().await?;
                return Ok(End::Over);
            }
            let left = self.left.load(Ordering::SeqCst);
            let count = count.min(left);
            if left < usize::MAX {
                self.left.store(left - count, Ordering::SeqCst);
            }
            to.write_all(&buffer[..count]).await?;
            if left == count {
                return Ok(End::Cut);
            }
            if self.slow.is_some() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}
