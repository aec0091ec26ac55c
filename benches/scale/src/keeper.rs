//! One core's way to the log: what a turn has gathered is committed before the turn goes on.

use std::thread;
use std::time::Duration;

use midge_broker::Shard;
use midge_broker::persist::Records;
use midge_persistence::batch_of;
use midge_store::{Settled, Store, Work, Writer};

use crate::Error;

/// How long to wait before looking again without being told.
const LOOK: Duration = Duration::from_millis(100);

/// Hands in records and waits until they are safe. Only the thread that made it may use it.
pub(crate) struct Keeper {
    writer: Writer,
    spare: Records,
    settled: Vec<Settled>,
}

impl Keeper {
    pub(crate) fn new(store: &Store) -> Self {
        let waiter = thread::current();
        Self {
            writer: store.writer(move || waiter.unpark()),
            spare: Records::default(),
            settled: Vec::new(),
        }
    }

    /// Commits what the shard has gathered, if that is anything; gives its number.
    pub(crate) fn commit(&mut self, shard: &mut Shard) -> Result<Option<u64>, Error> {
        let Some(records) = shard.take_records(std::mem::take(&mut self.spare)) else {
            return Ok(None);
        };
        if self
            .writer
            .submit(Work::Append(batch_of(&records)?))
            .is_err()
        {
            return Err("the store takes nothing more".into());
        }
        let settled = loop {
            self.writer.take_settled(&mut self.settled);
            if let Some(settled) = self.settled.pop() {
                break settled;
            }
            thread::park_timeout(LOOK);
        };
        if let Err(refused) = settled.outcome {
            return Err(format!("the store refuses: {refused}").into());
        }
        let number = records.number();
        self.spare = records;
        Ok(Some(number))
    }
}
