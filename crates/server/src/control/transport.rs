//! Certificates and the like while the broker runs: noticing that files have changed or will expire,
//! and changing the keys of tickets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use midge_transport::tls::{Expires, ExpiringItem};

use super::{Control, OpenListener};
use crate::config::{Config, Endpoint};
use crate::crew::secret;
use crate::log::Kind;
use crate::mail::WorkerMail;
use crate::wrapping::{Loaded, Tickets, TlsShared};

/// How often the files are looked at.
const LOOK_MS: u64 = 2_000;

/// How often it is looked at what will expire.
const EXPIRY_MS: u64 = DAY_SECS * 1_000;

const DAY_SECS: u64 = 24 * 60 * 60;

/// How often `$SYS` is told.
const SYS_MS: u64 = 60_000;

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
    /// When `$SYS` is told next how long it lasts.
    sys_at_ms: u64,
    /// The topics of `$SYS` that have a value.
    sys_topics: BTreeSet<String>,
}

impl TlsWatch {
    pub(crate) fn new(shared: TlsShared, tickets: Tickets) -> Self {
        Self {
            shared,
            tickets,
            look_at_ms: 0,
            expiry_at_ms: 0,
            sys_at_ms: 0,
            sys_topics: BTreeSet::new(),
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
        let due = self.tls.look_at_ms.min(self.tls.expiry_at_ms);
        let has_told = !self.tls.sys_topics.is_empty();
        (has_tls || has_told).then_some(due.min(self.tls.sys_at_ms))
    }

    /// Looks at the files and the calendar, if it is time.
    pub(super) fn tend_transports(&mut self) {
        let now = self.clock.now_ms();
        if !self.listeners.iter().any(OpenListener::has_tls) {
            if !self.tls.sys_topics.is_empty() {
                // What was told is not true any more.
                self.publish_expiry();
            }
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
            self.tls.sys_at_ms = now;
            self.tell_expiry();
        }
        if now >= self.tls.sys_at_ms {
            self.tls.sys_at_ms = now + SYS_MS;
            self.publish_expiry();
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

    /// Lets `$SYS` say how many seconds the certificates of each listener still last.
    fn publish_expiry(&mut self) {
        let now = wall_clock();
        let mut values = BTreeMap::new();
        if self.config.general.sys_interval_secs.is_some() {
            for listener in &self.listeners {
                let left = expiry_values(listener.port(), &listener.loaded.expires, now);
                values.extend(left);
            }
        }
        let topics: BTreeSet<String> = values.keys().cloned().collect();
        let gone = self.tls.sys_topics.difference(&topics);
        let gone = gone.map(|topic| (topic.clone(), String::new()));
        let mail: Vec<_> = values.clone().into_iter().chain(gone).collect();
        self.tls.sys_topics = topics;
        if let Some(worker) = self.workers.first_mut() {
            for (topic, value) in mail {
                worker.send(WorkerMail::SysValue {
                    topic: topic.into(),
                    value: value.into(),
                });
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

/// How many seconds what a listener has still lasts, by topics of `$SYS`; less than none for what is over. Of
/// several of a kind, the first that ends counts.
fn expiry_values(port: u16, expires: &[Expires], now: u64) -> BTreeMap<String, String> {
    let mut least: BTreeMap<String, i64> = BTreeMap::new();
    for Expires { item, at, .. } in expires {
        let what = match item {
            ExpiringItem::Certificate => "certificate",
            ExpiringItem::ClientCa => "client_ca",
            ExpiringItem::RevocationList => "revocation_list",
        };
        let topic = format!("$SYS/broker/listeners/{port}/{what}/expires_in");
        let left = at.cast_signed().saturating_sub(now.cast_signed());
        let known = least.entry(topic).or_insert(left);
        *known = left.min(*known);
    }
    let text = |(topic, left): (String, i64)| (topic, left.to_string());
    least.into_iter().map(text).collect()
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
    fn the_first_of_a_kind_that_ends_counts() {
        let expires = |item, at| Expires {
            file: "broker.pem".into(),
            item,
            subject: String::new(),
            at,
        };
        let all = [
            expires(ExpiringItem::Certificate, 2_000),
            expires(ExpiringItem::Certificate, 1_500),
            expires(ExpiringItem::RevocationList, 900),
        ];
        let values = expiry_values(8883, &all, 1_000);
        let value = |what: &str| {
            let topic = format!("$SYS/broker/listeners/8883/{what}/expires_in");
            values.get(&topic).map(String::as_str)
        };
        assert_eq!(value("certificate"), Some("500"));
        assert_eq!(value("revocation_list"), Some("-100"));
        assert_eq!(value("client_ca"), None);
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
