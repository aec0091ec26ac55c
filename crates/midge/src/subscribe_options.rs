//! What `sub` and `rr` ask for when they subscribe, and what they wait for.

use std::time::Duration;

use midge_codec::{RetainHandling, SubscriptionOptions};

use crate::connect_options::qos;
use crate::options::{Id, UsageError, Value};

/// What the options about a subscription say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubscribeOptions {
    /// The QoS of requests too.
    pub(crate) asked: SubscriptionOptions,
    /// Messages that were retained are printed.
    pub(crate) show_retained: bool,
    /// How long to wait; `None`: for ever.
    pub(crate) timeout: Option<Duration>,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self {
            asked: SubscriptionOptions::default(),
            show_retained: true,
            timeout: None,
        }
    }
}

impl SubscribeOptions {
    /// Takes an option about subscriptions; hands any other back.
    pub(crate) fn take(&mut self, id: Id, value: Value) -> Result<Option<Value>, UsageError> {
        match id {
            Id::QoS => self.asked.qos = qos(&value)?,
            Id::RetainedOff => {
                self.show_retained = false;
                self.asked.retain_handling = RetainHandling::DoNotSend;
            }
            Id::RetainAsPublished => self.asked.retain_as_published = true,
            Id::RetainHandling => self.asked.retain_handling = retain_handling(&value)?,
            Id::Timeout => {
                let seconds = value.number(1, u32::MAX, "Invalid timeout \"{}\".")?;
                self.timeout = Some(Duration::from_secs(u64::from(seconds)));
            }
            _ => return Ok(Some(value)),
        }
        Ok(None)
    }
}

fn retain_handling(value: &Value) -> Result<RetainHandling, UsageError> {
    match value.lossy().as_str() {
        "always" => Ok(RetainHandling::Send),
        "new" => Ok(RetainHandling::SendIfNew),
        "never" => Ok(RetainHandling::DoNotSend),
        when => Err(UsageError(format!(
            "Unknown value '{when}' for --retain-handling."
        ))),
    }
}
