//! Reads chunk after chunk: the frame here, the fields of each kind in [`fields`].

mod body;
mod fields;

use std::io::{self, BufReader, Read};

use self::body::{Body, Failure};
use super::{Damage, Fault, Kind, Reason, Record, Stop};

/// The oldest version that is read.
pub const VERSION_MIN: u32 = 2;
/// The newest version that is read: that of Mosquitto 2.0 and 2.1. (4 came with 1.5.6, 5 with 1.6.)
pub const VERSION_MAX: u32 = 6;

const MAGIC: &[u8; 15] = b"\0\xB5\0mosquitto db";

/// A database that is being read.
#[derive(Debug)]
pub struct Database<R> {
    source: Source<BufReader<R>>,
    version: u32,
    checksum: u32,
    only: Option<Kind>,
    has_ended: bool,
}

/// One chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The byte of the file where it begins.
    pub offset: u64,
    /// The bytes of its content, as its header says.
    pub length: u32,
    /// What it says, or why it cannot be used.
    pub content: Result<Record, Damage>,
}

impl<R: Read> Database<R> {
    /// Reads the header of a file.
    ///
    /// # Errors
    /// [`Reason::Empty`], [`Reason::NotADatabase`], [`Reason::Version`], [`Reason::Truncated`],
    /// [`Reason::Io`].
    pub fn open(source: R) -> Result<Self, Stop> {
        let mut source = Source {
            inner: BufReader::new(source),
            offset: 0,
        };
        let mut magic = [0; MAGIC.len()];
        let found = source.fill(&mut magic)?;
        let reason = if found == 0 {
            Some(Reason::Empty)
        } else if !MAGIC.starts_with(magic.get(..found).unwrap_or_default()) {
            Some(Reason::NotADatabase)
        } else {
            None
        };
        if let Some(reason) = reason {
            return Err(Stop { offset: 0, reason });
        }
        let mut numbers = [0; 8];
        let read = if found == magic.len() {
            source.fill(&mut numbers)?
        } else {
            0
        };
        if read < numbers.len() {
            let header = magic.len() + numbers.len();
            return Err(source.truncated(0, None, header - found - read));
        }
        let [a, b, c, d, version @ ..] = numbers;
        let version = u32::from_be_bytes(version);
        if !(VERSION_MIN..=VERSION_MAX).contains(&version) {
            return Err(Stop {
                offset: source.offset - 4,
                reason: Reason::Version(version),
            });
        }
        Ok(Self {
            source,
            version,
            checksum: u32::from_ne_bytes([a, b, c, d]),
            only: None,
            has_ended: false,
        })
    }

    /// Passes over all kinds of chunks but `kind`, and the settings.
    #[must_use]
    pub(super) const fn only(mut self, kind: Kind) -> Self {
        self.only = Some(kind);
        self
    }

    /// The version of the format, 2 to 6.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The field for a checksum, which Mosquitto fills with 0.
    #[must_use]
    pub const fn checksum(&self) -> u32 {
        self.checksum
    }

    /// Reads the next chunk; none at the end of the file, and after an error.
    ///
    /// # Errors
    /// [`Reason::Truncated`], [`Reason::IdSize`], [`Reason::Io`].
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, Stop> {
        if self.has_ended {
            return Ok(None);
        }
        let chunk = self.read_chunk();
        self.has_ended = !matches!(chunk, Ok(Some(_)));
        chunk
    }

    fn read_chunk(&mut self) -> Result<Option<Chunk>, Stop> {
        loop {
            let offset = self.source.offset;
            let Some((number, length)) = self.read_frame()? else {
                return Ok(None);
            };
            let kind = Kind::from_number(number);
            let mut body = Body::new(&mut self.source, offset, kind, length);
            if self.only.is_none() || kind == self.only || kind == Some(Kind::Config) {
                let content = read_content(&mut body, offset, number, self.version)?;
                return Ok(Some(Chunk {
                    offset,
                    length,
                    content,
                }));
            }
            body.skip_rest()?;
        }
    }

    /// Reads what a chunk is and how long. From version 5 both are numbers of four bytes.
    fn read_frame(&mut self) -> Result<Option<(u32, u32)>, Stop> {
        let start = self.source.offset;
        let mut bytes = [0; 8];
        let size = if self.version >= 5 { 8 } else { 6 };
        let Some(frame) = bytes.get_mut(8 - size..) else {
            return Ok(None);
        };
        let found = self.source.fill(frame)?;
        if found == 0 {
            return Ok(None);
        }
        if found < size {
            return Err(self.source.truncated(start, None, size - found));
        }
        let [a, b, c, d, length @ ..] = bytes;
        Ok(Some((
            u32::from_be_bytes([a, b, c, d]),
            u32::from_be_bytes(length),
        )))
    }
}

/// Reads what is behind a chunk's frame, to its end.
fn read_content<R: Read>(
    body: &mut Body<'_, R>,
    start: u64,
    number: u32,
    version: u32,
) -> Result<Result<Record, Damage>, Stop> {
    let content = match Kind::from_number(number) {
        Some(kind) => fields::read(body, kind, version).and_then(|record| {
            body.end()?;
            Ok(record)
        }),
        None => {
            let length = body.rest();
            Err(Failure::Chunk(start, Fault::UnknownKind { length }))
        }
    };
    match content {
        Ok(record) => Ok(Ok(record)),
        Err(Failure::Chunk(offset, fault)) => {
            body.skip_rest()?;
            Ok(Err(Damage {
                offset,
                chunk: start,
                number,
                fault,
            }))
        }
        Err(Failure::File(stop)) => Err(stop),
    }
}

/// The file, with a count of the bytes that were read.
#[derive(Debug)]
struct Source<R> {
    inner: R,
    offset: u64,
}

impl<R: Read> Source<R> {
    /// Reads until `bytes` is full or the file ends; says how many bytes were there.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<usize, Stop> {
        let mut found = 0;
        while let Some(rest) = bytes.get_mut(found..).filter(|rest| !rest.is_empty()) {
            match self.inner.read(rest) {
                Ok(0) => break,
                Ok(count) => {
                    found += count;
                    self.offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(found)
    }

    /// Appends `count` bytes to `bytes`, or as many as the file has. The memory follows what is
    /// there, not what is asked for.
    fn append(&mut self, bytes: &mut Vec<u8>, count: u32) -> Result<usize, Stop> {
        let before = bytes.len();
        let result = Read::take(&mut self.inner, u64::from(count)).read_to_end(bytes);
        let found = bytes.len() - before;
        self.offset += found as u64;
        match result {
            Ok(_) => Ok(found),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: io::Error) -> Stop {
        Stop {
            offset: self.offset,
            reason: Reason::Io(error),
        }
    }

    fn truncated(&self, start: u64, kind: Option<Kind>, missing: usize) -> Stop {
        Stop {
            offset: self.offset,
            reason: Reason::Truncated {
                start,
                kind,
                missing: missing as u64,
            },
        }
    }
}

#[cfg(test)]
mod tests;
