//! A connection after its upgrade: frames in, bytes out, and back.

use std::ops::Range;

use super::close::{Close, CloseCode, Violation};
use super::frame::{CONTROL_BYTES_MAX, FRAME_BYTES_MAX, HEADER_BYTES_MAX, Header, Opcode, Role};
use super::mask::{Keys, Mask};

/// Pongs that one [`WebSocket::receive`] adds, in bytes; beyond, only the last ping is answered, as
/// RFC 6455 allows (section 5.5.3).
const PONG_BYTES_MAX: usize = 4 * 1024;

/// An open WebSocket connection, of either role.
///
/// It holds no payload except that of a control frame of which only a part has come. It may move
/// between threads.
pub struct WebSocket {
    /// The masking keys of a client; a server has none.
    keys: Option<Box<Keys>>,
    /// A control frame of which only a part has come.
    control: Option<Box<Control>>,
    /// Payload of the current data frame that is still to come.
    left: u64,
    mask: Mask,
    /// The beginning of a header.
    held: [u8; HEADER_BYTES_MAX],
    held_bytes: u8,
    role: Role,
    /// A message has begun and not ended, so a continuation has to follow.
    in_message: bool,
    /// Nothing more is read.
    ended: bool,
    /// Nothing more is sent: a close frame was.
    close_sent: bool,
}

struct Control {
    opcode: Opcode,
    mask: Mask,
    /// Bytes of the payload that have come, and how many there will be.
    there: usize,
    needed: usize,
    payload: [u8; CONTROL_BYTES_MAX],
}

/// What [`WebSocket::receive`] found.
#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    /// Where in the buffer the payload lies now, in one piece. May be empty.
    pub plain: Range<usize>,
    /// Set when nothing follows: the reply then ends with a close frame, and the connection is to be
    /// closed when it has been sent.
    pub end: Option<End>,
}

/// How the peer ended the connection, or why this side does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By a close frame.
    Closed(Close),
    /// By breaking the protocol.
    Violation(Violation),
}

impl WebSocket {
    /// A server's end, after [`super::Upgrade`] has accepted the client.
    pub const fn server() -> Self {
        Self::new(Role::Server, None)
    }

    /// A client's end, after [`super::Handshake`] is complete. Masking keys come from `seed`, which has
    /// to be random and another one for each connection.
    pub fn client(seed: [u8; 16]) -> Self {
        Self::new(Role::Client, Some(Box::new(Keys::new(seed))))
    }

    const fn new(role: Role, keys: Option<Box<Keys>>) -> Self {
        Self {
            keys,
            control: None,
            left: 0,
            mask: Mask::NONE,
            held: [0; HEADER_BYTES_MAX],
            held_bytes: 0,
            role,
            in_message: false,
            ended: false,
            close_sent: false,
        }
    }

    /// Takes what was read, unmasks payload in place, and moves it together where it comes from several
    /// frames. All of `bytes` is consumed. What is to be answered, pongs and a close frame, is appended
    /// to `reply`: no more than 4 KiB and a close frame. Send it before anything else.
    pub fn receive(&mut self, bytes: &mut [u8], reply: &mut Vec<u8>) -> Received {
        let mut plain = 0..0;
        let mut at = 0;
        let pongs_at = reply.len();
        while !self.ended
            && let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty())
        {
            let taken = if self.left > 0 {
                Ok(self.take_payload(bytes, at, &mut plain))
            } else if let Some(control) = self.control.take() {
                Ok(self.take_control(control, rest))
            } else {
                self.take_header(rest)
            };
            let end = match taken {
                Ok((count, done)) => {
                    at += count;
                    done.and_then(|control| self.obey(&control, pongs_at, reply))
                }
                Err(violation) => Some(End::Violation(violation)),
            };
            if let Some(end) = end {
                self.ended = true;
                let code = match &end {
                    // The code comes back to who sent it.
                    End::Closed(close) => close.code.unwrap_or(CloseCode::NORMAL),
                    End::Violation(violation) => violation.code(),
                };
                self.close(code, reply);
                return Received {
                    plain,
                    end: Some(end),
                };
            }
        }
        Received { plain, end: None }
    }

    /// Appends `plain` in frames to `wire`: one copy of the payload and no other
    /// allocation. Nothing is sent after a close frame.
    pub fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) {
        if self.close_sent {
            return;
        }
        wire.reserve(plain.len() + plain.len().div_ceil(FRAME_BYTES_MAX) * HEADER_BYTES_MAX);
        for payload in plain.chunks(FRAME_BYTES_MAX) {
            self.write(Opcode::Binary, payload, wire);
        }
    }

    /// Appends a close frame to `wire`, unless one has been sent. The connection is to be closed when
    /// it has gone; a client may wait for the server to do so.
    pub fn close(&mut self, code: CloseCode, wire: &mut Vec<u8>) {
        if !self.close_sent {
            self.write(Opcode::Close, &code.number().to_be_bytes(), wire);
            self.close_sent = true;
        }
    }

    fn write(&mut self, opcode: Opcode, payload: &[u8], wire: &mut Vec<u8>) {
        let key = self.keys.as_mut().map(|keys| keys.next());
        Header::write(opcode, payload.len(), key, wire);
        let at = wire.len();
        wire.extend_from_slice(payload);
        if let (Some(key), Some(payload)) = (key, wire.get_mut(at..)) {
            Mask::new(key).apply(payload);
        }
    }

    /// Takes payload of a data frame at `at` and puts it behind what is in `plain`.
    fn take_payload(
        &mut self,
        bytes: &mut [u8],
        at: usize,
        plain: &mut Range<usize>,
    ) -> (usize, Option<Box<Control>>) {
        let there = bytes.len() - at;
        let count = usize::try_from(self.left).map_or(there, |left| left.min(there));
        if plain.start == plain.end {
            *plain = at..at;
        } else if plain.end != at {
            bytes.copy_within(at..at + count, plain.end);
        }
        let end = plain.end + count;
        if let Some(payload) = bytes.get_mut(plain.end..end) {
            self.mask.apply(payload);
        }
        plain.end = end;
        self.left -= count as u64;
        (count, None)
    }

    /// Takes a header or what there is of it, and a control frame with it.
    fn take_header(&mut self, bytes: &[u8]) -> Result<(usize, Option<Box<Control>>), Violation> {
        if self.held_bytes == 0
            && let Some((header, length)) = Header::read(bytes, self.role)?
        {
            return self.begin(header, length, bytes);
        }
        for (index, byte) in bytes.iter().enumerate() {
            let held_bytes = usize::from(self.held_bytes);
            if let Some(place) = self.held.get_mut(held_bytes) {
                *place = *byte;
            }
            self.held_bytes += 1;
            let held = self.held.get(..=held_bytes).unwrap_or_default();
            if let Some((header, _)) = Header::read(held, self.role)? {
                self.held_bytes = 0;
                return self.begin(header, index + 1, bytes);
            }
        }
        Ok((bytes.len(), None))
    }

    /// Begins the frame whose header ends at `at`, if it may come now.
    fn begin(
        &mut self,
        header: Header,
        at: usize,
        bytes: &[u8],
    ) -> Result<(usize, Option<Box<Control>>), Violation> {
        match header.opcode {
            Opcode::Continuation if !self.in_message => Err(Violation::StrayContinuation),
            Opcode::Binary if self.in_message => Err(Violation::MissingContinuation),
            Opcode::Continuation | Opcode::Binary => {
                self.in_message = !header.fin;
                self.left = header.payload;
                self.mask = header.mask;
                Ok((at, None))
            }
            opcode @ (Opcode::Close | Opcode::Ping | Opcode::Pong) => {
                let mut control = Box::new(Control {
                    opcode,
                    mask: header.mask,
                    there: 0,
                    needed: usize::try_from(header.payload).unwrap_or(CONTROL_BYTES_MAX),
                    payload: [0; CONTROL_BYTES_MAX],
                });
                let count = control.take(bytes.get(at..).unwrap_or_default());
                let done = self.whole(control);
                Ok((at + count, done))
            }
        }
    }

    fn take_control(
        &mut self,
        mut control: Box<Control>,
        bytes: &[u8],
    ) -> (usize, Option<Box<Control>>) {
        let count = control.take(bytes);
        (count, self.whole(control))
    }

    /// The control frame if it is whole; else it is kept for what is to come.
    fn whole(&mut self, control: Box<Control>) -> Option<Box<Control>> {
        if control.there == control.needed {
            return Some(control);
        }
        self.control = Some(control);
        None
    }

    /// Does what a control frame asks for.
    fn obey(&mut self, control: &Control, pongs_at: usize, reply: &mut Vec<u8>) -> Option<End> {
        let payload = control.payload.get(..control.there).unwrap_or_default();
        match control.opcode {
            Opcode::Close => Some(Close::read(payload).map_or_else(End::Violation, End::Closed)),
            Opcode::Ping => {
                if !self.close_sent {
                    if reply.len() - pongs_at
                        > PONG_BYTES_MAX - CONTROL_BYTES_MAX - HEADER_BYTES_MAX
                    {
                        reply.truncate(pongs_at);
                    }
                    self.write(Opcode::Pong, payload, reply);
                }
                None
            }
            Opcode::Pong | Opcode::Continuation | Opcode::Binary => None,
        }
    }
}

impl Control {
    /// Takes as much of the payload as there is, and tells how much that was.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let space = self.payload.get_mut(self.there..self.needed);
        let space = space.unwrap_or_default();
        let count = space.len().min(bytes.len());
        for (place, byte) in space.iter_mut().zip(bytes) {
            *place = *byte;
        }
        if let Some(new) = space.get_mut(..count) {
            self.mask.apply(new);
        }
        self.there += count;
        count
    }
}

#[cfg(test)]
mod tests;
