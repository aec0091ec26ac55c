//! Walking through a segment's records, over whatever lies between them.

use crc32c::crc32c;

use crate::disk::{DiskFile, read_what_can_be};
use crate::format::{ALIGN, DATA_START, RECORD_HEADER, RecordHeader, record_size};

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// What stands next in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// A record that verifies.
    Record {
        offset: u64,
        header: RecordHeader,
        payload: &'a [u8],
    },
    /// Bytes that do not verify, with something that does after them.
    Damage { offset: u64, end: u64 },
    /// Nothing verifies from here to the end of the file.
    End { offset: u64 },
}

/// Reads a segment's records in order, in memory bounded by the longest record.
pub(crate) struct Scanner<'f, F> {
    file: &'f F,
    /// Bytes of the file that count.
    length: u64,
    seed: u32,
    offset: u64,
    /// Sequence that the next record has when nothing is missing.
    expected: u64,
    window: Window,
}

/// The part of the file that is in memory.
#[derive(Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
    /// How many of them were read.
    filled: usize,
}

impl<'f, F: DiskFile> Scanner<'f, F> {
    /// Begins at `offset`, where the record `expected` should stand.
    pub(crate) fn new(file: &'f F, length: u64, seed: u32, offset: u64, expected: u64) -> Self {
        Self {
            file,
            length,
            seed,
            offset: offset.max(DATA_START),
            expected,
            window: Window::default(),
        }
    }

    /// The sequence that the next record has when nothing is missing.
    pub(crate) fn expected(&self) -> u64 {
        self.expected
    }

    /// Finds the next record, or says what is there instead.
    ///
    /// After damage the walk goes on with what verifies. It is not looked for behind the end of a
    /// log that stops where it should: the caller knows that and stops asking.
    pub(crate) fn next(&mut self) -> Found<'_> {
        let start = self.offset;
        let Some(header) = self.header_at(start) else {
            return match self.resume_after(start) {
                Some(end) => {
                    self.offset = end;
                    Found::Damage { offset: start, end }
                }
                None => Found::End { offset: start },
            };
        };
        let end = start + record_size(header.length as usize) as u64;
        self.offset = end;
        self.expected = header.sequence + 1;
        if !self.payload_verifies(start, &header) {
            return Found::Damage { offset: start, end };
        }
        let payload = self
            .window
            .get(start + RECORD_HEADER as u64, header.length as usize)
            .unwrap_or_default();
        Found::Record {
            offset: start,
            header,
            payload,
        }
    }

    /// A header that belongs here and whose payload fits into the file.
    fn header_at(&mut self, offset: u64) -> Option<RecordHeader> {
        let seed = self.seed;
        let expected = self.expected;
        let left = self.length.checked_sub(offset)?;
        let latest = expected.saturating_add(left / RECORD_HEADER as u64);
        let short = u32::try_from(offset).ok()?;
        let bytes = self.load(offset, RECORD_HEADER)?;
        // Most places in a file are no header, and this shows it without a checksum.
        if !(expected..=latest).contains(&RecordHeader::claimed_sequence(bytes)) {
            return None;
        }
        let header = RecordHeader::decode(bytes, seed, short)?;
        (record_size(header.length as usize) as u64 <= left).then_some(header)
    }

    fn payload_verifies(&mut self, offset: u64, header: &RecordHeader) -> bool {
        self.load(offset + RECORD_HEADER as u64, header.length as usize)
            .is_some_and(|payload| crc32c(payload) == header.payload_crc)
    }

    /// Finds where the next whole record stands after bytes that are none.
    fn resume_after(&mut self, offset: u64) -> Option<u64> {
        let mut place = offset + ALIGN as u64;
        while place + RECORD_HEADER as u64 <= self.length {
            if let Some(header) = self.header_at(place)
                && self.payload_verifies(place, &header)
            {
                return Some(place);
            }
            place += ALIGN as u64;
        }
        None
    }

    /// Has bytes in memory; none when the file ends before them.
    fn load(&mut self, offset: u64, length: usize) -> Option<&[u8]> {
        if self.window.get(offset, length).is_none() {
            let end = offset.checked_add(length as u64)?;
            if end > self.length {
                return None;
            }
            let rest = usize::try_from(self.length - offset).unwrap_or(usize::MAX);
            let wanted = rest.min(length.max(CHUNK));
            self.window.start = offset;
            self.window.bytes.resize(wanted, 0);
            // A long record must not keep its memory for the rest of the walk.
            self.window.bytes.shrink_to(wanted.max(CHUNK));
            self.window.filled = read_what_can_be(self.file, offset, &mut self.window.bytes);
        }
        self.window.get(offset, length)
    }
}

impl Window {
    fn get(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let at = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let end = at.checked_add(length)?;
        self.bytes.get(at..end).filter(|_| end <= self.filled)
    }
}
