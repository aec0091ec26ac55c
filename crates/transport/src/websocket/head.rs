//! The head of an HTTP message as it arrives: everything up to the empty line, within a bound.

/// Headers that a message may have.
pub(super) const HEADERS_MAX: usize = 100;

/// What has come of a head.
#[derive(Default)]
pub(super) struct Head {
    bytes: Vec<u8>,
}

/// The head is longer than it may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Head {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes bytes up to the end of the head. When it is whole, says how many of `bytes` belong to it.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        bytes_max: usize,
    ) -> Result<Option<usize>, TooLong> {
        let before = self.bytes.len();
        let room = bytes_max.saturating_sub(before).min(bytes.len());
        self.bytes
            .extend_from_slice(bytes.get(..room).unwrap_or_default());
        // The end may have begun in what was there, but what was searched is not searched again.
        if let Some(end) = find_end(&self.bytes, before.saturating_sub(2)) {
            self.bytes.truncate(end);
            return Ok(Some(end - before));
        }
        if self.bytes.len() >= bytes_max {
            return Err(TooLong);
        }
        Ok(None)
    }
}

/// Where the first empty line ends, behind a line end that is not before `from`.
fn find_end(bytes: &[u8], from: usize) -> Option<usize> {
    let tail = bytes.get(from..)?;
    let line_ends = tail.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    line_ends
        .map(|(index, _)| from + index + 1)
        .find_map(|next| match bytes.get(next..)? {
            [b'\n', ..] => Some(next + 1),
            [b'\r', b'\n', ..] => Some(next + 2),
            _ => None,
        })
}

#[cfg(test)]
mod tests;
