//! A disk for the broker under test: a list of records, of which a crash keeps those that were committed.

use std::collections::VecDeque;
use std::sync::Arc;

use midge_broker::Message;
use midge_broker::persist::{Image, Kind, Place, RecordRef, Records, read_message};

/// What the broker keeps.
#[derive(Default)]
pub(crate) struct Disk {
    /// What is safe.
    log: Vec<(Kind, Vec<u8>)>,
    /// What shards have handed in since.
    pub(crate) waiting: VecDeque<(u16, Records)>,
    pub(crate) answers: Answers,
}

/// When shards hear of their records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Answers {
    /// At the end of the turn.
    #[default]
    AtOnce,
    /// When the test says so.
    Later,
    /// At the end of the turn: new work is not taken.
    Full,
}

impl Disk {
    /// Makes the oldest records that wait safe; whose they are.
    pub(crate) fn commit(&mut self) -> Option<(u16, Records)> {
        let (shard, records) = self.waiting.pop_front()?;
        self.append(&records);
        Some((shard, records))
    }

    pub(crate) fn append(&mut self, records: &Records) {
        let record = |record: RecordRef<'_>| (record.kind, record.payload.to_vec());
        self.log.extend(records.iter().map(record));
    }

    /// What is safe adds up to this.
    pub(crate) fn image(&self) -> Image {
        let mut image = Image::new();
        for (index, (kind, payload)) in self.log.iter().enumerate() {
            let length = u32::try_from(payload.len()).unwrap();
            image
                .apply(*kind, payload, place(index), length, false)
                .unwrap();
        }
        image
    }

    pub(crate) fn read(&self, place: Place) -> Option<Vec<u8>> {
        let index = u128::from_le_bytes(place);
        let (_, payload) = self.log.get(usize::try_from(index).unwrap())?;
        Some(payload.clone())
    }

    /// The messages of these names.
    pub(crate) fn load(&self, names: &[u64], unix: u64) -> Vec<(u64, Option<Arc<Message>>)> {
        let image = self.image();
        let of = |name: u64| {
            let (_, place, _) = image.places().find(|(id, ..)| *id == name)?;
            read_message(&self.read(place)?, unix)
        };
        names.iter().map(|name| (*name, of(*name))).collect()
    }
}

fn place(index: usize) -> Place {
    (index as u128).to_le_bytes()
}
