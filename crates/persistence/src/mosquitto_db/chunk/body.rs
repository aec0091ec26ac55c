//! The content of one chunk: fields are read off its front, and never over its end.

use std::io::Read;

use midge_codec::Reader;

use super::{Fault, Kind, Source, Stop};

/// Why a chunk gives no record.
#[derive(Debug)]
pub(super) enum Failure {
    /// Its content is wrong; the byte of the file, and how.
    Chunk(u64, Fault),
    /// The file cannot be read on.
    File(Stop),
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        Self::File(stop)
    }
}

/// What has not been read of a chunk.
#[derive(Debug)]
pub(super) struct Body<'a, R> {
    source: &'a mut Source<R>,
    start: u64,
    kind: Option<Kind>,
    rest: u32,
}

impl<'a, R: Read> Body<'a, R> {
    pub(super) const fn new(
        source: &'a mut Source<R>,
        start: u64,
        kind: Option<Kind>,
        length: u32,
    ) -> Self {
        Self {
            source,
            start,
            kind,
            rest: length,
        }
    }

    /// How many bytes are left.
    pub(super) const fn rest(&self) -> u32 {
        self.rest
    }

    /// The byte of the file that is read next.
    pub(super) const fn offset(&self) -> u64 {
        self.source.offset
    }

    /// A fault at the byte that is read next.
    pub(super) const fn fault(&self, fault: Fault) -> Failure {
        Failure::Chunk(self.source.offset, fault)
    }

    /// Reads a number's bytes.
    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Failure> {
        let mut bytes = [0; N];
        self.reserve(field, N as u32)?;
        let found = self.source.fill(&mut bytes)?;
        self.expect_all(found, N as u32)?;
        Ok(bytes)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, Failure> {
        let [byte] = self.array(field)?;
        Ok(byte)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, Failure> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, Failure> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// Reads a record id.
    pub(super) fn id(&mut self, field: &'static str) -> Result<u64, Failure> {
        self.array(field).map(u64::from_ne_bytes)
    }

    /// Reads a time of 8 bytes in seconds since 1970; none for 0 and what is before.
    pub(super) fn time(&mut self, field: &'static str) -> Result<Option<u64>, Failure> {
        let seconds = self.array(field).map(i64::from_ne_bytes)?;
        Ok(u64::try_from(seconds).ok().filter(|seconds| *seconds > 0))
    }

    /// Reads a time of 4 bytes, from a machine whose times ended in 2038.
    pub(super) fn short_time(&mut self, field: &'static str) -> Result<Option<u64>, Failure> {
        let seconds = self.array(field).map(i32::from_ne_bytes)?;
        Ok(u64::try_from(seconds).ok().filter(|seconds| *seconds > 0))
    }

    /// Reads `length` bytes.
    pub(super) fn bytes(&mut self, field: &'static str, length: u32) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        self.append(field, length, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads a text of `length` bytes; none when that is 0.
    pub(super) fn text(
        &mut self,
        field: &'static str,
        length: u16,
    ) -> Result<Option<String>, Failure> {
        let offset = self.offset();
        let bytes = self.raw_text(field, length)?;
        match Reader::new(&bytes).string() {
            Ok("") => Ok(None),
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(Failure::Chunk(offset, Fault::Text { field })),
        }
    }

    /// Reads the bytes of a text, unchecked, and puts their length before them as MQTT does.
    pub(super) fn raw_text(
        &mut self,
        field: &'static str,
        length: u16,
    ) -> Result<Vec<u8>, Failure> {
        let mut bytes = length.to_be_bytes().to_vec();
        self.append(field, u32::from(length), &mut bytes)?;
        Ok(bytes)
    }

    /// Reads a text that must not be empty.
    pub(super) fn name(&mut self, field: &'static str, length: u16) -> Result<String, Failure> {
        let offset = self.offset();
        self.text(field, length)?
            .ok_or(Failure::Chunk(offset, Fault::Empty { field }))
    }

    /// Checks that everything was read.
    pub(super) const fn end(&self) -> Result<(), Failure> {
        match self.rest {
            0 => Ok(()),
            length => Err(self.fault(Fault::LeftOver { length })),
        }
    }

    /// Goes to the end of the chunk.
    pub(super) fn skip_rest(&mut self) -> Result<(), Stop> {
        let mut waste = [0; 4096];
        while self.rest > 0 {
            let size = waste.len().min(self.rest as usize);
            let part = waste.get_mut(..size).unwrap_or_default();
            let found = self.source.fill(part)?;
            self.rest -= found as u32;
            if found < size {
                return Err(self.truncated());
            }
        }
        Ok(())
    }

    fn append(
        &mut self,
        field: &'static str,
        length: u32,
        bytes: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        self.reserve(field, length)?;
        let found = self.source.append(bytes, length)?;
        self.expect_all(found, length)
    }

    /// Takes `length` bytes off what is left.
    fn reserve(&mut self, field: &'static str, length: u32) -> Result<(), Failure> {
        match self.rest.checked_sub(length) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(self.fault(Fault::TooLong {
                field,
                length,
                room: self.rest,
            })),
        }
    }

    /// Checks that the file did not end before the field.
    fn expect_all(&mut self, found: usize, length: u32) -> Result<(), Failure> {
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        if found == length {
            return Ok(());
        }
        self.rest = self.rest.saturating_add(length.saturating_sub(found));
        Err(Failure::File(self.truncated()))
    }

    fn truncated(&self) -> Stop {
        self.source
            .truncated(self.start, self.kind, self.rest as usize)
    }
}
