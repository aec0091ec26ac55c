//! A session as bytes, for memory that keeps them without power, and back.
//!
//! Format 1, numbers with the high byte first: the format (1 byte), the protocol level (1), the last packet
//! identifier (2), the length of the log (4), how many identifiers were received (2), the log, the
//! identifiers (2 each), and CRC-32 of it all (4).

use ::core::fmt;

use midge_codec::{Header, PacketType, Property, Publish, QoS, Version};

use super::{Awaits, Entry, SENT, Session};

const FORMAT: u8 = 1;
/// What stands before the log.
const HEAD: usize = 10;
const CHECKSUM: usize = 4;

/// Why there is no session in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreError {
    /// They do not begin as a saved session does: nothing was ever written, or by a later format.
    Unknown,
    /// They are not what was saved: cut short, written in part, or changed.
    Damaged,
    /// There is less memory than the session needs.
    TooSmall,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "no session was saved here, or in a later format",
            Self::Damaged => "the saved session is damaged",
            Self::TooSmall => "the saved session needs more memory",
        })
    }
}

impl ::core::error::Error for RestoreError {}

impl<'s> Session<'s> {
    /// The most bytes that a session with so much memory is saved in: bytes for unacknowledged packets, and
    /// places for received identifiers.
    #[must_use]
    pub const fn saved_length_max(unacknowledged: usize, received: usize) -> usize {
        HEAD + unacknowledged + 2 * received + CHECKSUM
    }

    /// The session as bytes, to be written to memory that keeps them without power, and read by
    /// [`Self::restore`]. See [loss of power](crate#loss-of-power) for when.
    pub fn saved(&self) -> impl Iterator<Item = u8> + '_ {
        let log = self.log.get(..self.used).unwrap_or_default();
        let received = self.received.iter().filter(|id| **id != 0);
        let mut head = [FORMAT, self.version.level(), 0, 0, 0, 0, 0, 0, 0, 0];
        let length = u32::try_from(log.len()).unwrap_or(u32::MAX).to_be_bytes();
        let count = u16::try_from(received.clone().count()).unwrap_or(u16::MAX);
        let numbers = self.last_id.to_be_bytes().into_iter().chain(length);
        let numbers = numbers.chain(count.to_be_bytes());
        for (place, byte) in head.iter_mut().skip(2).zip(numbers) {
            *place = byte;
        }
        let bytes = head.into_iter().chain(log.iter().copied());
        let bytes = bytes.chain(received.flat_map(|id| id.to_be_bytes()));
        let checksum = checksum(bytes.clone());
        bytes.chain(checksum.to_be_bytes())
    }

    /// Writes [`Self::saved`] to the beginning of `to`, and says how many bytes they are; `None` if they
    /// do not fit.
    #[must_use]
    pub fn save(&self, to: &mut [u8]) -> Option<usize> {
        let mut length = 0;
        for byte in self.saved() {
            *to.get_mut(length)? = byte;
            length += 1;
        }
        Some(length)
    }

    /// The session that [`Self::saved`] gave, in memory that need not be what it was in. What follows the
    /// session in `saved` is not looked at. A message that may have been sent before is sent with DUP.
    ///
    /// # Errors
    /// As they say. The memory may have been written to.
    pub fn restore(
        saved: &[u8],
        unacknowledged: &'s mut [u8],
        received: &'s mut [u16],
    ) -> Result<Self, RestoreError> {
        let [
            format,
            level,
            id_high,
            id_low,
            a,
            b,
            c,
            d,
            count_high,
            count_low,
            ..,
        ] = *saved
        else {
            return Err(match saved.first() {
                Some(&FORMAT) => RestoreError::Damaged,
                _ => RestoreError::Unknown,
            });
        };
        if format != FORMAT {
            return Err(RestoreError::Unknown);
        }
        let used = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok();
        let count = usize::from(u16::from_be_bytes([count_high, count_low]));
        let parts = used.and_then(|used| split(saved, used, count));
        let (log, ids) = parts.ok_or(RestoreError::Damaged)?;
        let mut versions = Version::ALL.into_iter();
        let version = versions.find(|version| version.level() == level);
        let mut session = Self::new(
            version.ok_or(RestoreError::Damaged)?,
            unacknowledged,
            received,
        );
        session.last_id = u16::from_be_bytes([id_high, id_low]);
        let space = session.log.get_mut(..log.len());
        let space = space.ok_or(RestoreError::TooSmall)?;
        space.copy_from_slice(log);
        session.used = log.len();
        session.check_log()?;
        session.forget_received();
        for id in ids {
            session.take_in(*id)?;
        }
        Ok(session)
    }

    /// Takes in an identifier of a message that was received.
    fn take_in(&mut self, id: [u8; 2]) -> Result<(), RestoreError> {
        let id = u16::from_be_bytes(id);
        let id = id.try_into().map_err(|_| RestoreError::Damaged)?;
        if self.has_received(id) {
            return Err(RestoreError::Damaged);
        }
        if self.receive(id) {
            Ok(())
        } else {
            Err(RestoreError::TooSmall)
        }
    }

    /// Looks at every packet of the log, and notes that it may have been sent.
    fn check_log(&mut self) -> Result<(), RestoreError> {
        let mut at = 0;
        while at < self.used {
            let entry = self.entry(at).filter(|entry| self.is_sound(entry));
            let entry = entry.ok_or(RestoreError::Damaged)?;
            self.set_state(&entry, entry.awaits, true);
            at = entry.end();
        }
        Ok(())
    }

    /// Whether this client could have written it.
    fn is_sound(&self, entry: &Entry) -> bool {
        let state = self.log.get(entry.at + super::HEAD - 1);
        if state.is_none_or(|state| entry.awaits as u8 != state & !SENT)
            || self.find(entry.id).is_none_or(|first| first.at != entry.at)
            || entry.end() > self.used
        {
            return false;
        }
        let packet = self.packet(entry.id);
        let Ok(Some(header)) = Header::peek(packet) else {
            return false;
        };
        let kind = header.packet_type();
        if header.packet_length() != packet.len() || entry.id == 0 {
            return false;
        }
        let body = header.body(packet).unwrap_or_default();
        let publish = Publish::decode(header.first, self.version, body);
        let publish = publish.ok().filter(|publish| {
            let is_alias = |property| matches!(property, Property::TopicAlias(_));
            kind == Some(PacketType::Publish)
                && publish.packet_id.is_some_and(|id| id.get() == entry.id)
                && !publish.topic.is_empty()
                && !publish.properties.iter().any(is_alias)
        });
        let qos = publish.map(|publish| publish.qos);
        let first = |kind: PacketType| header.first == kind.first_byte();
        match entry.awaits {
            Awaits::PubAck => qos == Some(QoS::AtLeastOnce),
            Awaits::PubRec => qos == Some(QoS::ExactlyOnce),
            Awaits::PubComp => first(PacketType::PubRel) && body == entry.id.to_be_bytes(),
            // They are given up when a connection begins.
            Awaits::SubAck => first(PacketType::Subscribe),
            Awaits::UnsubAck => first(PacketType::Unsubscribe),
        }
    }
}

/// Log and identifiers, if the checksum is right.
fn split(saved: &[u8], used: usize, count: usize) -> Option<(&[u8], &[[u8; 2]])> {
    let ids = HEAD.checked_add(used)?;
    let end = ids.checked_add(2 * count)?;
    let checked = saved.get(..end)?;
    let sum = saved.get(end..)?.first_chunk::<CHECKSUM>()?;
    if checksum(checked.iter().copied()) != u32::from_be_bytes(*sum) {
        return None;
    }
    let (ids, _) = checked.get(ids..)?.as_chunks::<2>();
    Some((checked.get(HEAD..HEAD + used)?, ids))
}

/// CRC-32 as in Ethernet, without a table.
fn checksum(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            let polynomial = if sum & 1 == 0 { 0 } else { 0xEDB8_8320 };
            sum >> 1 ^ polynomial
        })
    })
}
