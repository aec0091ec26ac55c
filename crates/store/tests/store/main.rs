//! The store as its owner sees it, on simulated and on real disks.

#![expect(clippy::unwrap_used, reason = "a test ends at what it did not expect")]
#![expect(clippy::panic, reason = "a test ends at what it did not expect")]

mod crashes;
mod damage;
mod files;
mod full;
mod kill;
mod owner;
mod removals;
mod replay;
mod threads;
