//! Log lines in Mosquitto's manner, written by a thread of their own.
//!
//! A [`Logger`] is cheap to clone and to ask whether a [`Kind`] is wanted. Lines pass through a
//! bounded queue to one writer, so that a terminal, pipe or disk that is stuck never holds up a
//! worker: when the queue is full, lines are lost, counted, and the count is logged later.

mod escape;
mod kind;
mod logger;
mod settings;
mod sinks;
mod syslog;
mod timestamp;

pub use escape::escape;
pub use kind::{Kind, Kinds};
pub use logger::{LINE_BYTES_MAX, Logger, QUEUE_LINES, TopicSink};
pub use settings::{Destinations, Facility, LogSettings, Timestamp};
pub use sinks::LogError;

#[cfg(test)]
mod tests;
