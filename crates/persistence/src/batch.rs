//! From a shard's records to a batch of the log.

use midge_broker::persist::{Kind, Records};
use midge_store::{Batch, Purpose, TooLong};

/// Makes a batch of a shard's records. Messages are pinned: their bytes may be needed until the last
/// holder has finished with them.
///
/// # Errors
/// [`TooLong`] for a record that no log takes; a packet cannot be as long.
pub fn batch_of(records: &Records) -> Result<Batch, TooLong> {
    let mut batch = Batch::new(if records.has_new_work() {
        Purpose::Ordinary
    } else {
        // Acknowledgements make room, so they go on when there is nearly none.
        Purpose::Removal
    });
    for record in records.iter() {
        batch.push(record.kind as u8, record.payload)?;
        if record.kind == Kind::Message {
            batch.pin_last();
        }
    }
    Ok(batch)
}
