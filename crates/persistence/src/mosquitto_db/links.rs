//! The chunks of a database, checked against each other.

use std::{collections::HashSet, io::Read};

use super::{Damage, Database, Fault, Kind, Record, Stop};

/// Reads a database for an import: a message comes once, and before everything that refers to it.
///
/// It remembers the ids of the messages: 9 to 18 bytes each, which is less than half of what each
/// takes in the file.
#[derive(Debug)]
pub struct Records<R> {
    database: Database<R>,
    messages: HashSet<u64>,
    counts: Counts,
}

/// How many chunks of each kind were read, without those that were left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Stored messages.
    pub messages: u64,
    /// Clients.
    pub clients: u64,
    /// Places in queues and windows.
    pub client_messages: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Retained messages.
    pub retained: u64,
    /// Chunks that were left out.
    pub damaged: u64,
}

impl<R: Read> Records<R> {
    /// Reads the rest of `database`.
    #[must_use]
    pub fn new(database: Database<R>) -> Self {
        Self {
            database,
            messages: HashSet::new(),
            counts: Counts::default(),
        }
    }

    /// What has been read so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Reads the next chunk; none at the end of the file. A damaged one comes as its [`Damage`], so
    /// also a second message with an id ([`Fault::Repeated`]), and what refers to a message that is
    /// not there ([`Fault::Unknown`], which Mosquitto passes over in silence).
    ///
    /// # Errors
    /// [`Stop`], once.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would hide which errors end it"
    )]
    pub fn next(&mut self) -> Result<Option<Result<Record, Damage>>, Stop> {
        let Some(chunk) = self.database.next_chunk()? else {
            return Ok(None);
        };
        let content = chunk
            .content
            .and_then(|record| match self.fault_of(&record) {
                None => Ok(record),
                Some(fault) => Err(Damage {
                    offset: chunk.offset,
                    chunk: chunk.offset,
                    number: record.kind() as u32,
                    fault,
                }),
            });
        let count = match content.as_ref().map(Record::kind) {
            Ok(Kind::Config) => return Ok(Some(content)),
            Ok(Kind::BaseMessage) => &mut self.counts.messages,
            Ok(Kind::ClientMessage) => &mut self.counts.client_messages,
            Ok(Kind::Retained) => &mut self.counts.retained,
            Ok(Kind::Subscription) => &mut self.counts.subscriptions,
            Ok(Kind::Client) => &mut self.counts.clients,
            Err(_) => &mut self.counts.damaged,
        };
        *count += 1;
        Ok(Some(content))
    }

    fn fault_of(&mut self, record: &Record) -> Option<Fault> {
        let message_id = match record {
            Record::BaseMessage(message) => {
                let message_id = message.id;
                let is_new = self.messages.insert(message_id);
                return (!is_new).then_some(Fault::Repeated { message_id });
            }
            Record::ClientMessage(message) => message.message_id,
            Record::Retained(retained) => retained.message_id,
            Record::Config(_) | Record::Subscription(_) | Record::Client(_) => return None,
        };
        (!self.messages.contains(&message_id)).then_some(Fault::Unknown { message_id })
    }
}
