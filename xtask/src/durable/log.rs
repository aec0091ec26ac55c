//! What a store's files say of the commits that wrote them.
//!
//! Each record says how far the log was synced when it was written (`crates/store/src/format.rs`), so the
//! files tell how many messages shared a sync, without a look at the running broker.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::Outcome;

/// Where records begin in a segment, and what stands before each payload.
const DATA_START: usize = 8192;
const RECORD_HEADER: usize = 28;
const ALIGN: usize = 4;

/// The number of a message's kind.
const MESSAGE: u8 = 1;

/// What was written for messages.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Written {
    pub(super) messages: u64,
    /// Bytes of their records.
    pub(super) bytes: u64,
    /// Commits with at least one.
    pub(super) commits: u64,
}

impl Written {
    /// Messages for each commit.
    pub(super) fn batch(&self) -> f64 {
        self.messages as f64 / self.commits.max(1) as f64
    }

    /// Bytes of each record.
    pub(super) fn each(&self) -> f64 {
        self.bytes as f64 / self.messages.max(1) as f64
    }
}

/// Reads the segments in a folder, of a store whose every commit was synced.
pub(super) fn written(folder: &Path) -> Outcome<Written> {
    let fail = |error: std::io::Error| format!("{}: {error}", folder.display());
    // By what was synced before: the name of a commit.
    let mut commits: BTreeMap<u64, [u64; 2]> = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.extension().is_none_or(|extension| extension != "seg") {
            continue;
        }
        let bytes = fs::read(&path).map_err(fail)?;
        each_record(&bytes, |kind, synced, size| {
            if kind == MESSAGE {
                let [messages, bytes] = commits.entry(synced).or_default();
                *messages += 1;
                *bytes += size;
            }
        });
    }
    let mut written = Written::default();
    for [messages, bytes] in commits.into_values() {
        written.messages += messages;
        written.bytes += bytes;
        written.commits += 1;
    }
    Ok(written)
}

/// Gives kind, what was synced before, and bytes of each record. Where zeros stand, the segment ends.
fn each_record(segment: &[u8], mut each: impl FnMut(u8, u64, u64)) {
    let mut rest = segment.get(DATA_START..).unwrap_or_default();
    while let Some(header) = rest.first_chunk::<RECORD_HEADER>() {
        let [
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            h,
            i,
            j,
            k,
            l,
            m,
            n,
            o,
            p,
            kind,
            ..,
        ] = *header;
        let sequence = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let length = u32::from_le_bytes([i, j, k, l]);
        let back = u32::from_le_bytes([m, n, o, p]);
        if sequence == 0 {
            return;
        }
        let size = (RECORD_HEADER + length as usize).next_multiple_of(ALIGN);
        each(kind, sequence.saturating_sub(u64::from(back)), size as u64);
        rest = rest.get(size..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sequence: u64, synced: u64, kind: u8, length: u32) -> Vec<u8> {
        let mut bytes = vec![9; 8];
        bytes.extend_from_slice(&sequence.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(sequence - synced).unwrap().to_le_bytes());
        bytes.extend_from_slice(&[kind, 0, 0, 0]);
        bytes.resize((28 + length as usize).next_multiple_of(4), 7);
        bytes
    }

    #[test]
    fn messages_are_counted_by_their_commit() {
        let folder = std::env::temp_dir().join(format!("xtask-log-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut bytes = vec![1; DATA_START];
        bytes.extend(record(1, 0, 3, 10));
        bytes.extend(record(2, 1, MESSAGE, 10));
        bytes.extend(record(3, 1, MESSAGE, 12));
        bytes.extend(record(4, 3, MESSAGE, 12));
        bytes.extend([0; 100]);
        fs::write(folder.join("00000000.seg"), bytes).unwrap();
        fs::write(folder.join("lock"), "1").unwrap();
        let found = written(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let expected = Written {
            messages: 3,
            bytes: 120,
            commits: 2,
        };
        assert_eq!(found, expected);
        assert!((found.batch() - 1.5).abs() < 1e-9);
        assert!((found.each() - 40.0).abs() < 1e-9);
    }
}
