//! A TCP connection between a client and the broker, as bad as the run wants it.

use std::collections::VecDeque;

use crate::world::{Millis, NEVER, Random};

/// How bad a link is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quality {
    /// Longest time that a piece of the stream takes, in milliseconds.
    pub(crate) delay_max: Millis,
    /// Longest piece that stays together, in bytes.
    pub(crate) chunk_max: usize,
    /// Bytes that may be under way and unread towards the client; more are not accepted.
    pub(crate) window: usize,
}

impl Quality {
    /// A link that nothing is wrong with.
    pub(crate) const WHOLE: Self = Self {
        delay_max: 2,
        chunk_max: usize::MAX,
        window: usize::MAX,
    };
}

/// How one direction came to its end, as its reader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The writer closed it; everything written has arrived.
    Closed,
    /// It broke; what came before is all there is.
    Reset,
}

#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    End(End),
}

/// One direction of a link: bytes in order, late and in pieces.
#[derive(Debug)]
pub(crate) struct Pipe {
    quality: Quality,
    window: usize,
    flight: VecDeque<(Millis, Piece)>,
    flight_bytes: usize,
    last_arrival: Millis,
    stalled_until: Millis,
    arrived: VecDeque<u8>,
    ended: Option<End>,
    /// The other end is not there: what is written gets nowhere.
    broken: bool,
    /// The other end does not want it: what is written is forgotten.
    unwanted: bool,
}

impl Pipe {
    const fn new(quality: Quality, window: usize) -> Self {
        Self {
            quality,
            window,
            flight: VecDeque::new(),
            flight_bytes: 0,
            last_arrival: 0,
            stalled_until: 0,
            arrived: VecDeque::new(),
            ended: None,
            broken: false,
            unwanted: false,
        }
    }

    /// Takes as much of `bytes` as there is room for, or a little less; tells how much, and when the
    /// last of it will arrive.
    pub(crate) fn write(
        &mut self,
        now: Millis,
        random: &mut Random,
        bytes: &[u8],
    ) -> (usize, Vec<Millis>) {
        if self.unwanted {
            return (bytes.len(), Vec::new());
        }
        let room = self
            .window
            .saturating_sub(self.flight_bytes + self.arrived.len());
        let mut accepted = bytes.len().min(room);
        if accepted > 1 && random.chance(10) {
            accepted = random.size(1, accepted);
        }
        let mut arrivals = Vec::new();
        let mut rest = &bytes[..accepted];
        while !rest.is_empty() {
            let length = if random.chance(50) {
                rest.len()
            } else {
                random.size(1, self.quality.chunk_max.min(rest.len()))
            };
            let (piece, behind) = rest.split_at(length);
            rest = behind;
            let at = self.arrival(now, random);
            self.flight.push_back((at, Piece::Bytes(piece.to_vec())));
            arrivals.push(at);
        }
        self.flight_bytes += accepted;
        (accepted, arrivals)
    }

    fn arrival(&mut self, now: Millis, random: &mut Random) -> Millis {
        if self.broken {
            return NEVER;
        }
        let delay = random.below(self.quality.delay_max + 1);
        self.last_arrival = self.last_arrival.max(now + delay);
        self.last_arrival
    }

    /// Ends the direction behind what has been written; tells when the reader learns of it.
    pub(crate) fn close(&mut self, now: Millis, random: &mut Random) -> Millis {
        let at = self.arrival(now, random);
        self.flight.push_back((at, Piece::End(End::Closed)));
        at
    }

    /// Breaks the direction: of what is under way, a random part at the end is lost. The reader learns of
    /// it at `notice`, or never.
    fn cut(&mut self, random: &mut Random, notice: Millis) {
        if self.broken {
            return;
        }
        self.broken = true;
        let kept = random.size(0, self.flight.len());
        self.flight.truncate(kept);
        if let Some((_, Piece::Bytes(bytes))) = self.flight.back_mut()
            && random.chance(50)
        {
            bytes.truncate(random.size(0, bytes.len()));
        }
        self.flight_bytes = self.flight.iter().map(|(_, piece)| length(piece)).sum();
        if notice != NEVER {
            let at = notice.max(self.last_arrival);
            self.flight.push_back((at, Piece::End(End::Reset)));
        }
    }

    /// What is under way arrives now.
    pub(crate) fn hasten(&mut self, now: Millis) {
        for (at, piece) in &mut self.flight {
            if *at != NEVER && matches!(piece, Piece::Bytes(_)) {
                *at = now;
            }
        }
    }

    /// Breaks the direction with all that is under way or unread. The reader learns of it at `notice`.
    fn lose(&mut self, notice: Millis) {
        self.flight.clear();
        self.flight_bytes = 0;
        self.arrived.clear();
        if self.ended.is_some() {
            return;
        }
        self.broken = true;
        if notice != NEVER {
            self.flight.push_back((notice, Piece::End(End::Reset)));
        }
    }

    /// Lets a reader that has not been told of a cut learn of it now.
    fn reveal(&mut self, now: Millis) {
        if self.broken && self.ended.is_none() {
            self.flight
                .retain(|(at, piece)| *at != NEVER && matches!(piece, Piece::Bytes(_)));
            self.flight_bytes = self.flight.iter().map(|(_, piece)| length(piece)).sum();
            let at = now.max(self.last_arrival);
            self.flight.push_back((at, Piece::End(End::Reset)));
        }
    }

    /// Moves what has arrived by now to where the reader finds it.
    pub(crate) fn arrive(&mut self, now: Millis) {
        if now < self.stalled_until {
            return;
        }
        while let Some((at, _)) = self.flight.front()
            && *at <= now
        {
            match self.flight.pop_front() {
                Some((_, Piece::Bytes(bytes))) => {
                    self.flight_bytes -= bytes.len();
                    self.arrived.extend(bytes);
                }
                Some((_, Piece::End(end))) => {
                    self.ended = Some(end);
                    self.flight.clear();
                    self.flight_bytes = 0;
                }
                None => {}
            }
        }
    }

    /// Takes up to `most` of the bytes that have arrived.
    pub(crate) fn read(&mut self, most: usize, into: &mut Vec<u8>) {
        let count = most.min(self.arrived.len());
        into.extend(self.arrived.drain(..count));
    }

    pub(crate) fn readable(&self) -> usize {
        self.arrived.len()
    }

    /// How the direction ended, once everything before has been read.
    pub(crate) fn ended(&self) -> Option<End> {
        self.ended.filter(|_| self.arrived.is_empty())
    }

    /// What is written from now on is forgotten.
    pub(crate) fn forget(&mut self) {
        self.unwanted = true;
        self.flight.clear();
        self.flight_bytes = 0;
        self.arrived.clear();
    }

    /// Lets nothing arrive before `until`.
    pub(crate) fn stall(&mut self, until: Millis) {
        self.stalled_until = self.stalled_until.max(until);
    }
}

const fn length(piece: &Piece) -> usize {
    match piece {
        Piece::Bytes(bytes) => bytes.len(),
        Piece::End(_) => 0,
    }
}

/// Both directions, and who is still there.
#[derive(Debug)]
pub(crate) struct Link {
    /// The client's number.
    pub(crate) client: usize,
    /// From the client to the broker.
    pub(crate) up: Pipe,
    /// From the broker to the client.
    pub(crate) down: Pipe,
    /// The client has not closed its end.
    pub(crate) client_open: bool,
    /// What the broker still sends after it has given the connection up.
    pub(crate) last_words: Option<VecDeque<u8>>,
    pub(crate) cut: bool,
}

impl Link {
    pub(crate) const fn new(client: usize, quality: Quality) -> Self {
        Self {
            client,
            up: Pipe::new(quality, usize::MAX),
            down: Pipe::new(quality, quality.window),
            client_open: true,
            last_words: None,
            cut: false,
        }
    }

    /// Breaks the link. Each side learns of it at its time, or never.
    pub(crate) fn cut(
        &mut self,
        random: &mut Random,
        client_notice: Millis,
        broker_notice: Millis,
    ) {
        self.cut = true;
        self.up.cut(random, broker_notice);
        self.down.cut(random, client_notice);
    }

    /// The broker is gone, and all that was under way.
    pub(crate) fn lose(&mut self, now: Millis, notice: Millis) {
        self.cut = true;
        self.up.lose(NEVER);
        self.down.lose(notice.max(now));
        self.last_words = None;
    }

    /// Ends what is bad about the link: stalls end, and both sides learn of a cut.
    pub(crate) fn heal(&mut self, now: Millis) {
        self.up.stalled_until = 0;
        self.down.stalled_until = 0;
        self.up.reveal(now);
        self.down.reveal(now);
        self.down.window = usize::MAX;
        for pipe in [&mut self.up, &mut self.down] {
            pipe.quality = Quality::WHOLE;
        }
    }

    /// Sends on what the broker said last; tells when it arrives.
    pub(crate) fn flush_last_words(&mut self, now: Millis, random: &mut Random) -> Vec<Millis> {
        let Some(words) = &mut self.last_words else {
            return Vec::new();
        };
        let mut arrivals = Vec::new();
        while !words.is_empty() {
            let (accepted, at) = self.down.write(now, random, words.make_contiguous());
            if accepted == 0 {
                return arrivals;
            }
            words.drain(..accepted);
            arrivals.extend(at);
        }
        self.last_words = None;
        arrivals.push(self.down.close(now, random));
        arrivals
    }
}
