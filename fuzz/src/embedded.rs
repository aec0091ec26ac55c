//! Whatever a broker says, and whatever memory a session comes from, the client for microcontrollers ends in an
//! error or waits.
//!
//! An input is how the client is, in one byte (see [`How`]); the length of a saved session, one byte, and the
//! session without its checksum; and what the broker says.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use midge_embedded::embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use midge_embedded::{
    Authenticator, Buffers, Client, Event, Extras, Message, Options, QoS, Session, Time,
    TopicAliases, Unconvinced, Version, With,
};

/// The bits of the first byte.
#[derive(Clone, Copy, Debug)]
pub struct How(pub u8);

impl How {
    /// 3.1.1 and not 5.0, where no session is restored.
    pub const OLD: u8 = 1;
    /// The broker begins with an accepting CONNACK, which need not be in the input.
    pub const ACCEPTED: u8 = 2;
    /// There are topic aliases.
    pub const ALIASES: u8 = 4;
    /// There is an authenticator. CONNACK has to be in the input.
    pub const AUTHENTICATOR: u8 = 8;
    /// The session is saved.
    pub const SAVED: u8 = 16;

    const fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    /// Bytes that come at once, at most.
    const fn chunk(self) -> usize {
        match self.0 >> 6 {
            0 => usize::MAX,
            chunk => chunk as usize,
        }
    }
}

/// A broker that does not listen.
struct Link<'a> {
    down: &'a [u8],
    chunk: usize,
}

impl ErrorType for Link<'_> {
    type Error = ErrorKind;
}

impl Read for Link<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        assert!(!buffer.is_empty(), "there is room to read into");
        let count = self.down.len().min(buffer.len()).min(self.chunk);
        if count == 0 {
            return std::future::pending().await;
        }
        let (now, later) = self.down.split_at(count);
        for (place, byte) in buffer.iter_mut().zip(now) {
            *place = *byte;
        }
        self.down = later;
        Ok(count)
    }
}

impl Write for Link<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        assert!(!bytes.is_empty(), "there is something to write");
        Ok(bytes.len().min(self.chunk))
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

/// A method that says what it has heard.
struct Echo {
    heard: [u8; 20],
    length: usize,
}

impl Authenticator for Echo {
    fn method(&self) -> &'static str {
        "echo"
    }

    fn begin(&mut self) -> Option<&[u8]> {
        None
    }

    fn answer(&mut self, data: Option<&[u8]>) -> Result<Option<&[u8]>, Unconvinced> {
        let data = data.unwrap_or_default();
        let place = self.heard.get_mut(..data.len()).ok_or(Unconvinced)?;
        place.copy_from_slice(data);
        self.length = data.len();
        Ok(self.heard.get(..self.length))
    }

    fn finish(&mut self, data: Option<&[u8]>) -> Result<(), Unconvinced> {
        if data.is_some() {
            Ok(())
        } else {
            Err(Unconvinced)
        }
    }
}

/// The result, if it does not wait.
fn poll<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// How the client is, the session with its checksum, and what the broker says.
#[must_use]
pub fn split(input: &[u8]) -> Option<(How, Vec<u8>, &[u8])> {
    let (&[how, length], rest) = input.split_first_chunk::<2>()?;
    let (session, down) = rest.split_at_checked(length.into())?;
    let sum = crc32(session);
    Some((How(how), [session, &sum.to_be_bytes()].concat(), down))
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            sum >> 1 ^ if sum & 1 == 1 { 0xEDB8_8320 } else { 0 }
        })
    })
}

/// Lets a client with the session of `input` hear its bytes.
///
/// # Panics
/// When the client breaks a promise.
pub fn check(input: &[u8]) {
    let Some((how, saved, down)) = split(input) else {
        return;
    };
    let (mut log, mut received) = ([0; 128], [0; 3]);
    let session = if saved.len() > 4 {
        match Session::restore(&saved, &mut log, &mut received) {
            Ok(session) => session,
            Err(_) => return,
        }
    } else if how.has(How::OLD) {
        Session::new(Version::V3_1_1, &mut log, &mut received)
    } else {
        Session::new(Version::V5, &mut log, &mut received)
    };
    let is_old = session.version() != Version::V5;
    let connack: &[u8] = match (how.has(How::ACCEPTED), is_old) {
        (false, _) => &[],
        (true, true) => &[0x20, 2, 1, 0],
        (true, false) => &[0x20, 6, 1, 0, 3, 0x22, 0, 1],
    };
    let down = [connack, down].concat();
    let link = Link {
        down: &down,
        chunk: how.chunk(),
    };
    let mut memory = [0; 16];
    let aliases = TopicAliases::new()
        .outgoing(&["t", "u"])
        .incoming(2, &mut memory);
    let echo = Echo {
        heard: [0; 20],
        length: 0,
    };
    let is_used = |bit| how.has(bit);
    match (
        is_used(How::ALIASES),
        is_used(How::AUTHENTICATOR),
        is_used(How::SAVED),
    ) {
        (false, false, false) => talk(session, link, With::new()),
        (true, false, false) => talk(session, link, With::new().topic_aliases(aliases)),
        (false, true, false) => talk(session, link, With::new().authenticator(echo)),
        (false, false, true) => talk(session, link, With::new().session_saved()),
        (true, false, true) => {
            talk(
                session,
                link,
                With::new().topic_aliases(aliases).session_saved(),
            );
        }
        (_, true, _) => {
            let with = With::new().topic_aliases(aliases).authenticator(echo);
            talk(session, link, with.session_saved());
        }
    }
}

fn talk<X: Extras>(mut session: Session<'_>, link: Link<'_>, with: X) {
    let (mut receive, mut send) = ([0; 64], [0; 96]);
    let buffers = Buffers {
        receive: &mut receive,
        send: &mut send,
    };
    let mut unfinished = session.unfinished();
    let options = Options::new("me");
    let clock = || Time(0);
    let connecting = Client::connect_with(link, clock, &mut session, buffers, &options, with);
    if let Some(Ok((mut client, _))) = poll(connecting) {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let queued = client.try_publish(&Message::new("t", b"x").qos(qos));
            unfinished += usize::from(matches!(queued, Ok(Some(_))));
        }
        // Each takes a byte at least.
        for _ in 0..1000 {
            match poll(client.next()) {
                None | Some(Err(_)) => break,
                Some(Ok(Event::Delivered { .. })) => {
                    unfinished = unfinished.checked_sub(1).expect("it was published");
                }
                Some(Ok(Event::Message(message))) => assert!(!message.topic.is_empty()),
                Some(Ok(_)) => {}
            }
        }
    }
    assert_eq!(session.unfinished(), unfinished);
    let saved: Vec<u8> = session.saved().collect();
    let (mut log, mut received) = ([0; 128], [0; 3]);
    let again = Session::restore(&saved, &mut log, &mut received);
    assert!(again.is_ok_and(|again| again.unfinished() == unfinished));
}
