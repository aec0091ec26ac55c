//! Where packets are written: a counter first, then the bytes, through one function.

use crate::EncodeError;

/// Takes the bytes of a packet in order.
///
/// Every packet is written twice, first into a [`Counter`] for its Remaining Length.
pub trait Sink {
    /// What counts for it: [`LengthCounter`], unless the code for another type is to be saved.
    type Counter: Counter;

    /// Appends `bytes`.
    fn put(&mut self, bytes: &[u8]);

    /// Learns that `additional` bytes follow.
    fn reserve(&mut self, additional: usize) {
        let _ = additional;
    }

    /// Learns that a field cannot be written. Only the counter listens: it always runs first, and a
    /// failure there keeps everything from being written.
    fn refuse(&mut self, error: EncodeError) {
        let _ = error;
    }

    /// Appends one byte.
    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    /// Appends a two byte integer.
    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    /// Appends a four byte integer.
    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// Appends a variable byte integer in its shortest form `[MQTT5-1.5.5-1]`.
    fn put_variable_int(&mut self, mut value: u32) {
        if value > crate::REMAINING_LENGTH_MAX {
            self.refuse(EncodeError::PacketTooLong);
        }
        let mut bytes = [0_u8; 5];
        let mut used = 0;
        for slot in &mut bytes {
            let [low, ..] = (value & 0x7F).to_le_bytes();
            value >>= 7;
            *slot = if value > 0 { low | 0x80 } else { low };
            used += 1;
            if value == 0 {
                break;
            }
        }
        self.put(bytes.get(..used).unwrap_or_default());
    }

    /// Appends binary data behind its two byte length.
    fn put_binary(&mut self, value: &[u8]) {
        match u16::try_from(value.len()) {
            Ok(length) => {
                self.put_u16(length);
                self.put(value);
            }
            Err(_) => self.refuse(EncodeError::FieldTooLong),
        }
    }

    /// Appends a string behind its two byte length.
    fn put_string(&mut self, value: &str) {
        self.put_binary(value.as_bytes());
    }
}

/// A sink that keeps nothing but the number of bytes.
pub trait Counter: Sink + Default {
    /// The number of bytes put so far.
    ///
    /// # Errors
    /// What a field was refused for.
    fn count(self) -> Result<usize, EncodeError>;
}

/// Counts what would be written.
#[derive(Clone, Copy, Debug, Default)]
pub struct LengthCounter {
    length: usize,
    error: Option<EncodeError>,
}

impl Counter for LengthCounter {
    #[inline]
    fn count(self) -> Result<usize, EncodeError> {
        match self.error {
            None => Ok(self.length),
            Some(error) => Err(error),
        }
    }
}

impl Sink for LengthCounter {
    type Counter = Self;

    fn put(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len());
    }

    fn refuse(&mut self, error: EncodeError) {
        self.error.get_or_insert(error);
    }
}

/// Writes into a slice of the caller's. It is its own counter, so that small programs have each packet's code
/// once.
#[derive(Debug, Default)]
pub struct SliceSink<'a> {
    buffer: &'a mut [u8],
    /// May go beyond the buffer, and nothing is written from there on.
    length: usize,
    error: Option<EncodeError>,
}

impl<'a> SliceSink<'a> {
    /// Starts at the first byte of `buffer`.
    #[must_use]
    pub const fn new(buffer: &'a mut [u8]) -> Self {
        Self {
            buffer,
            length: 0,
            error: None,
        }
    }

    /// How many bytes were written.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`] when not everything fitted.
    pub const fn finish(self) -> Result<usize, EncodeError> {
        if self.length > self.buffer.len() {
            Err(EncodeError::BufferTooSmall)
        } else {
            Ok(self.length)
        }
    }
}

impl Counter for SliceSink<'static> {
    fn count(self) -> Result<usize, EncodeError> {
        match self.error {
            None => Ok(self.length),
            Some(error) => Err(error),
        }
    }
}

impl Sink for SliceSink<'_> {
    type Counter = SliceSink<'static>;

    fn put(&mut self, bytes: &[u8]) {
        let end = self.length.saturating_add(bytes.len());
        if let Some(space) = self.buffer.get_mut(self.length..end) {
            space.copy_from_slice(bytes);
        }
        self.length = end;
    }

    fn refuse(&mut self, error: EncodeError) {
        self.error.get_or_insert(error);
    }
}

#[cfg(feature = "alloc")]
impl Sink for alloc::vec::Vec<u8> {
    type Counter = LengthCounter;

    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn reserve(&mut self, additional: usize) {
        Self::reserve(self, additional);
    }

    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }
}

#[cfg(test)]
mod tests;
