//! Certificates and the like while the broker runs: noticing that files have changed or will expire,
//! and changing the keys of tickets.

use std::time::{SystemTime, UNIX_EPOCH};

use midge_transport::tls::{Expires, ExpiringItem};

use super::{Control, OpenListener};
use crate::config::{Config, Endpoint};
use crate::crew::secret;
use crate::log::Kind;
use crate::wrapping::{Loaded, Tickets, TlsShared};

/// How often the files are looked at.
const LOOK_MS: u64 = 2_000;

/// How often it is looked at what will expire.
const EXPIRY_MS: u64 = DAY_SECS * 1_000;

const DAY_SECS: u64 = 24 * 60 * 60;

/// Days before the end at which it is told, each day, and at which that becomes more urgent.
const DAYS_NOTICE: u64 = 30;
const DAYS_WARNING: u64 = 7;
const DAYS_ERROR: u64 = 1;

/// What the control thread does about TLS now and then.
pub(crate) struct TlsWatch {
    pub(crate) shared: TlsShared,
    tickets: Tickets,
    /// When the files are looked at next.
    look_at_ms: u64,
    /// When what expires is told next.
    expiry_at_ms: u64,
}

impl TlsWatch {
    pub(crate) fn new(shared: TlsShared, tickets: Tickets) -> Self {
        Self {
            shared,
            tickets,
            look_at_ms: 0,
            expiry_at_ms: 0,
        }
    }
}

/// Seconds since 1970.
fn wall_clock() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// What each listener of a configuration is wrapped in, in its order.
///
/// # Errors
/// What is to be told the operator about a file.
pub(crate) fn load_all(config: &Config, shared: &TlsShared) -> Result<Vec<Loaded>, String> {
    config
        .listeners
        .iter()
        .map(|listener| Loaded::load(&listener.settings, &config.general, shared))
        .collect()
}

impl Control {
    /// When [`Self::tend_transports`] has something to do.
    pub(super) fn next_tend_ms(&self) -> Option<u64> {
        let has_tls = self.listeners.iter().any(OpenListener::has_tls);
        has_tls.then_some(self.tls.look_at_ms.min(self.tls.expiry_at_ms))
    }

    /// Looks at the files and the calendar, if it is time.
    pub(super) fn tend_transports(&mut self) {
        let now = self.clock.now_ms();
        if !self.listeners.iter().any(OpenListener::has_tls) {
            return;
        }
        if now >= self.tls.look_at_ms {
            self.tls.look_at_ms = now + LOOK_MS;
            self.look_at_certificates();
            let wall = wall_clock();
            if wall >= self.tls.tickets.due() {
                let TlsWatch {
                    tickets, shared, ..
                } = &mut self.tls;
                if let Err(text) = tickets.renew(wall, secret, &shared.tickets) {
                    self.logger.log(Kind::Warning, text);
                }
            }
        }
        if now >= self.tls.expiry_at_ms {
            self.tls.expiry_at_ms = now + EXPIRY_MS;
            self.tell_expiry();
        }
    }

    /// What the listeners of a new configuration are to be wrapped in, in its order. Where nothing but
    /// the content of files has changed and that cannot be used, there is nothing, and what holds goes on
    /// to: a certificate that the broker's user cannot read must not stand in the way of everything else.
    ///
    /// # Errors
    /// What is to be told the operator about a file.
    pub(super) fn load_again(&mut self, new: &Config) -> Result<Vec<Option<Loaded>>, String> {
        let mut all = Vec::new();
        for listener in &new.listeners {
            match Loaded::load(&listener.settings, &new.general, &self.tls.shared) {
                Ok(loaded) => all.push(Some(loaded)),
                Err(text) if self.config.listeners.contains(listener) => {
                    self.tell_unchanged(text);
                    all.push(None);
                }
                Err(text) => return Err(text),
            }
        }
        Ok(all)
    }

    fn tell_unchanged(&self, text: String) {
        let is_forbidden = text.contains("Permission denied");
        self.logger.log(Kind::Error, text);
        // Root has read it at the start, and is not there any more.
        let text = if is_forbidden {
            "Error: The TLS files from before go on to be used; let the user that the broker runs as \
             read the file, or it cannot be renewed without a restart."
        } else {
            "Error: The TLS files from before go on to be used; correct the file."
        };
        self.logger.log(Kind::Error, text);
    }

    /// Lets `loaded` hold for those who connect from now on.
    pub(super) fn wrap_listener(&mut self, endpoint: &Endpoint, loaded: Loaded) {
        for warning in &loaded.warnings {
            self.logger.log(Kind::Warning, warning.clone());
        }
        let place = self
            .listeners
            .iter_mut()
            .find(|listener| listener.endpoint == *endpoint);
        if let Some(listener) = place {
            listener.loaded = loaded;
        }
        // What has come anew is looked at anew.
        self.tls.expiry_at_ms = 0;
    }

    /// Reads files again that have changed. One that cannot be used changes nothing, and is told once.
    fn look_at_certificates(&mut self) {
        for place in 0..self.listeners.len() {
            let Some(listener) = self.listeners.get_mut(place) else {
                return;
            };
            if !listener.loaded.is_stale() {
                continue;
            }
            let endpoint = listener.endpoint.clone();
            let config = self.config.listeners.iter();
            let Some(config) = config.clone().find(|config| config.endpoint == endpoint) else {
                continue;
            };
            match Loaded::load(&config.settings, &self.config.general, &self.tls.shared) {
                Ok(loaded) => {
                    self.wrap_listener(&endpoint, loaded);
                    let text = format!(
                        "The TLS files of the listener on {endpoint} have changed and were read again."
                    );
                    self.logger.log(Kind::Notice, text);
                }
                Err(text) => {
                    listener.loaded.restamp();
                    self.tell_unchanged(text);
                }
            }
        }
    }

    fn tell_expiry(&self) {
        let now = wall_clock();
        let mut told: Vec<&Expires> = Vec::new();
        for expires in self
            .listeners
            .iter()
            .flat_map(|listener| &listener.loaded.expires)
        {
            if !told.contains(&expires) {
                told.push(expires);
                if let Some((kind, text)) = expiry_line(expires, now) {
                    self.logger.log(kind, text);
                }
            }
        }
    }
}

/// What is to be said about something that does not last.
fn expiry_line(expires: &Expires, now: u64) -> Option<(Kind, String)> {
    let what = match expires.item {
        ExpiringItem::Certificate => "certificate",
        ExpiringItem::ClientCa => "CA certificate",
        ExpiringItem::RevocationList => "revocation list",
    };
    let Expires { file, subject, .. } = expires;
    let what = format!("The {what} of {} in {file}", subject.escape_debug());
    let Some(left) = expires.at.checked_sub(now) else {
        let text = format!("Error: {what} has expired.");
        return Some((Kind::Error, text));
    };
    let days = left / DAY_SECS;
    let (kind, word) = if days < DAYS_ERROR {
        (Kind::Error, "Error: ")
    } else if days < DAYS_WARNING {
        (Kind::Warning, "Warning: ")
    } else if days < DAYS_NOTICE {
        (Kind::Notice, "")
    } else {
        return None;
    };
    let left = match days {
        0 => format!("{} hours", left / 3600),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    Some((kind, format!("{word}{what} expires in {left}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(left: i64, wanted: Option<(Kind, &str)>) {
        let now = 1_800_000_000_u64;
        let expires = Expires {
            file: "broker.pem".into(),
            item: ExpiringItem::Certificate,
            subject: "CN=broker".to_owned(),
            at: now.saturating_add_signed(left),
        };
        let line = expiry_line(&expires, now);
        let wanted = wanted.map(|(kind, text)| (kind, text.to_owned()));
        assert_eq!(line, wanted);
    }

    #[test]
    fn what_expires_is_told_the_more_urgently_the_less_time_there_is() {
        const DAY: i64 = 24 * 60 * 60;
        let subject = "The certificate of CN=broker in broker.pem";
        check(31 * DAY, None);
        let text = format!("{subject} expires in 29 days.");
        check(30 * DAY - 1, Some((Kind::Notice, &text)));
        let text = format!("Warning: {subject} expires in 1 day.");
        check(2 * DAY - 1, Some((Kind::Warning, &text)));
        let text = format!("Error: {subject} expires in 3 hours.");
        check(4 * 3600 - 1, Some((Kind::Error, &text)));
        let text = format!("Error: {subject} has expired.");
        check(-1, Some((Kind::Error, &text)));
    }
}
