//! The keys of a provider over time: fetched, kept, renewed, and asked for again with restraint.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use super::{KeySet, KeysFault, Skipped, Symmetric, parse_jwks};
use crate::tokens::discovery::{DiscoveryFault, Document};

/// How long keys are good, and how often a provider is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPolicy {
    /// How long keys are fresh when the provider does not say (`Cache-Control: max-age`).
    pub lifetime_default: Duration,
    /// The least that is made of what the provider says; it would be asked all the time otherwise.
    pub lifetime_min: Duration,
    /// The most that is made of what the provider says: a key that it withdraws is gone by then.
    pub lifetime_max: Duration,
    /// Between two fetches because of tokens that name an unknown key. Anybody can send such tokens.
    pub unknown_key_interval: Duration,
    /// Before the first retry of a fetch that failed; each further one waits twice as long.
    pub retry_first: Duration,
    /// The longest wait between retries.
    pub retry_max: Duration,
    /// How long keys serve beyond their lifetime while the provider cannot be asked.
    pub stale_max: Duration,
}

impl Default for KeyPolicy {
    /// An hour of freshness, between a minute and a day; unknown keys every 30 seconds; retries after 1
    /// second to 5 minutes; a day without the provider.
    fn default() -> Self {
        Self {
            lifetime_default: Duration::from_secs(3600),
            lifetime_min: Duration::from_secs(60),
            lifetime_max: Duration::from_secs(86_400),
            unknown_key_interval: Duration::from_secs(30),
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_secs(300),
            stale_max: Duration::from_secs(86_400),
        }
    }
}

/// What is to be fetched by GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Where from.
    pub url: String,
    /// What is expected there.
    pub purpose: FetchPurpose,
}

/// What a [`Fetch`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchPurpose {
    /// The provider's discovery document, which says where its keys are.
    Discovery,
    /// The set of keys.
    Keys,
}

/// What an answer brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// The provider has said where its keys are; they are to be fetched next.
    Discovered,
    /// There are new keys, or the old ones are good for longer.
    Keys {
        /// The `kid`s that were not there before; empty for a mere renewal.
        added: Vec<String>,
        /// The `kid`s that are gone.
        removed: Vec<String>,
        /// Keys that cannot be used.
        skipped: Vec<Skipped>,
    },
    /// Nobody had asked.
    Unasked,
}

/// Why an answer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchFault {
    /// The discovery document is wrong.
    Discovery(DiscoveryFault),
    /// The set of keys is wrong.
    Keys(KeysFault),
}

impl fmt::Display for FetchFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discovery(fault) => write!(f, "discovery document: {fault}"),
            Self::Keys(fault) => write!(f, "keys: {fault}"),
        }
    }
}

impl core::error::Error for FetchFault {}

/// What a login can do now.
#[derive(Clone, Debug)]
pub enum Availability {
    /// Verify with these.
    Ready(Arc<KeySet>),
    /// Wait: they are being fetched for the first time.
    Waiting,
    /// Be refused.
    Unavailable(NoKeys),
}

/// Why there are no keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoKeys {
    /// The provider has never answered with keys; why not.
    NeverFetched(String),
    /// The provider has not answered for so long that the old ones no longer count; why not.
    TooOld(String),
}

impl fmt::Display for NoKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverFetched(why) => write!(f, "the provider's keys were never fetched: {why}"),
            Self::TooOld(why) => write!(f, "the provider's keys are too old: {why}"),
        }
    }
}

/// What to do with a token that names a key which is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownKey {
    /// Keep it and verify it again after the next answer: a fetch is under way or due at once.
    Wait,
    /// Refuse it.
    Refuse,
}

/// Where keys come from.
#[derive(Clone, Debug)]
enum Source {
    /// Key files; nothing is fetched.
    Fixed,
    KeysUri(String),
    Issuer {
        issuer: String,
        document: Option<Arc<Document>>,
        /// Where the keys are may have changed.
        ask_again: bool,
    },
}

/// The keys of one provider.
///
/// Call [`next_fetch`](Self::next_fetch) when [`next_due`](Self::next_due) has come and after every call
/// that may make a fetch due. Every fetch that was given out must come back by [`fetched`](Self::fetched)
/// or [`failed`](Self::failed); one is given out at a time. All times are since any one moment, such as the
/// start of the process.
#[derive(Debug)]
pub struct KeyStore {
    source: Source,
    policy: KeyPolicy,
    keys: Option<Held>,
    due: Option<Duration>,
    under_way: Option<FetchPurpose>,
    /// When a fetch was last given out.
    asked_at: Option<Duration>,
    failures: u32,
    last_failure: Option<String>,
}

#[derive(Debug)]
struct Held {
    keys: Arc<KeySet>,
    /// From here on they are old.
    fresh_until: Duration,
}

impl KeyStore {
    /// Keys that never change, such as those of key files.
    #[must_use]
    pub fn fixed(keys: KeySet) -> Self {
        let mut store = Self::new(Source::Fixed, KeyPolicy::default(), Duration::MAX);
        store.due = None;
        store.keys = Some(Held {
            keys: Arc::new(keys),
            fresh_until: Duration::MAX,
        });
        store
    }

    /// The keys at `url`, fetched from `now` on.
    #[must_use]
    pub fn from_keys_uri(url: impl Into<String>, policy: KeyPolicy, now: Duration) -> Self {
        Self::new(Source::KeysUri(url.into()), policy, now)
    }

    /// The keys of an OpenID provider or OAuth server, whose place its discovery document tells.
    #[must_use]
    pub fn from_issuer(issuer: impl Into<String>, policy: KeyPolicy, now: Duration) -> Self {
        let source = Source::Issuer {
            issuer: issuer.into(),
            document: None,
            ask_again: true,
        };
        Self::new(source, policy, now)
    }

    const fn new(source: Source, policy: KeyPolicy, now: Duration) -> Self {
        Self {
            source,
            policy,
            keys: None,
            due: Some(now),
            under_way: None,
            asked_at: None,
            failures: 0,
            last_failure: None,
        }
    }

    /// The keys, unless there are none or they are too old.
    #[must_use]
    pub fn availability(&self, now: Duration) -> Availability {
        let why = || self.last_failure.clone().unwrap_or_default();
        match &self.keys {
            Some(held) if now < held.fresh_until.saturating_add(self.policy.stale_max) => {
                Availability::Ready(Arc::clone(&held.keys))
            }
            Some(_) => Availability::Unavailable(NoKeys::TooOld(why())),
            None if self.failures == 0 => Availability::Waiting,
            None => Availability::Unavailable(NoKeys::NeverFetched(why())),
        }
    }

    /// The provider's discovery document, once it is there.
    #[must_use]
    pub const fn document(&self) -> Option<&Arc<Document>> {
        match &self.source {
            Source::Issuer { document, .. } => document.as_ref(),
            Source::Fixed | Source::KeysUri(_) => None,
        }
    }

    /// Why the last fetch failed, while it is not made good.
    #[must_use]
    pub fn last_failure(&self) -> Option<&str> {
        self.last_failure.as_deref()
    }

    /// When [`next_fetch`](Self::next_fetch) has something to say, if nothing happens before.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.due.filter(|_| self.under_way.is_none())
    }

    /// What is to be fetched now. It is under way from here on.
    #[must_use = "a fetch that is given out must be carried out"]
    pub fn next_fetch(&mut self, now: Duration) -> Option<Fetch> {
        self.next_due().filter(|due| *due <= now)?;
        let fetch = match &self.source {
            Source::Fixed => return None,
            Source::KeysUri(url) => Fetch {
                url: url.clone(),
                purpose: FetchPurpose::Keys,
            },
            Source::Issuer {
                document: Some(document),
                ask_again: false,
                ..
            } => Fetch {
                url: document.jwks_uri.clone(),
                purpose: FetchPurpose::Keys,
            },
            Source::Issuer { issuer, .. } => Fetch {
                url: Document::url(issuer),
                purpose: FetchPurpose::Discovery,
            },
        };
        self.due = None;
        self.under_way = Some(fetch.purpose);
        self.asked_at = Some(now);
        Some(fetch)
    }

    /// Takes the body of a successful answer. `max_age` is what the answer allows, see [`max_age`].
    ///
    /// # Errors
    /// [`FetchFault`] if the body cannot be used; that counts as [`failed`](Self::failed).
    pub fn fetched(
        &mut self,
        body: &[u8],
        max_age: Option<Duration>,
        now: Duration,
    ) -> Result<Update, FetchFault> {
        let taken = match self.under_way.take() {
            None => return Ok(Update::Unasked),
            Some(FetchPurpose::Discovery) => self.take_document(body, now),
            Some(FetchPurpose::Keys) => self.take_keys(body, max_age, now),
        };
        if let Err(fault) = &taken {
            self.retry_later(fault.to_string(), now);
        }
        taken
    }

    fn take_document(&mut self, body: &[u8], now: Duration) -> Result<Update, FetchFault> {
        let Source::Issuer {
            issuer,
            document,
            ask_again,
        } = &mut self.source
        else {
            return Ok(Update::Unasked);
        };
        let found = Document::parse(body, issuer).map_err(FetchFault::Discovery)?;
        *document = Some(Arc::new(found));
        *ask_again = false;
        self.due = Some(now);
        Ok(Update::Discovered)
    }

    fn take_keys(
        &mut self,
        body: &[u8],
        max_age: Option<Duration>,
        now: Duration,
    ) -> Result<Update, FetchFault> {
        // What comes over the network is no place for shared secrets.
        let parsed = parse_jwks(body, Symmetric::Refused).map_err(FetchFault::Keys)?;
        let policy = &self.policy;
        let lifetime = max_age
            .unwrap_or(policy.lifetime_default)
            .min(policy.lifetime_max)
            .max(policy.lifetime_min);
        let before = self.keys.take().map(|held| held.keys);
        let update = Update::Keys {
            added: ids_missing_in(&parsed.keys, before.as_deref()),
            removed: before.map_or_else(Vec::new, |old| ids_missing_in(&old, Some(&parsed.keys))),
            skipped: parsed.skipped,
        };
        self.keys = Some(Held {
            keys: Arc::new(parsed.keys),
            fresh_until: now.saturating_add(lifetime),
        });
        // Ahead of time, so that no login meets old keys and one failed fetch does no harm.
        self.due = Some(now.saturating_add(lifetime / 4 * 3));
        self.failures = 0;
        self.last_failure = None;
        Ok(update)
    }

    /// Takes the news that a fetch failed: no connection, no time, a status that is no success.
    pub fn failed(&mut self, why: impl Into<String>, now: Duration) {
        if self.under_way.take().is_some() {
            self.retry_later(why.into(), now);
        }
    }

    fn retry_later(&mut self, why: String, now: Duration) {
        let doublings = self.failures.min(16);
        let wait = self
            .policy
            .retry_first
            .saturating_mul(1 << doublings)
            .min(self.policy.retry_max);
        self.due = Some(now.saturating_add(wait));
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(why);
        if let Source::Issuer { ask_again, .. } = &mut self.source {
            *ask_again = true;
        }
    }

    /// Says what to do with a token whose `kid` is not among the keys.
    ///
    /// A fetch becomes due for it, but not within [`KeyPolicy::unknown_key_interval`] of the last one: a
    /// flood of made-up `kid`s costs the provider one request in that time.
    pub fn unknown_key(&mut self, now: Duration) -> UnknownKey {
        if matches!(self.source, Source::Fixed) {
            return UnknownKey::Refuse;
        }
        if self.under_way.is_some() || self.due.is_some_and(|due| due <= now) {
            return UnknownKey::Wait;
        }
        let may_ask_at = self
            .asked_at
            .map(|at| at.saturating_add(self.policy.unknown_key_interval));
        if may_ask_at.is_some_and(|at| now < at) {
            return UnknownKey::Refuse;
        }
        self.due = Some(now);
        UnknownKey::Wait
    }
}

fn ids_missing_in(keys: &KeySet, others: Option<&KeySet>) -> Vec<String> {
    keys.iter()
        .filter_map(|key| key.id())
        .filter(|id| others.is_none_or(|others| !others.has_id(id)))
        .map(str::to_owned)
        .collect()
}

/// How long a `Cache-Control` header allows an answer to be kept (RFC 9111 section 5.2.2); `None` if it does
/// not say. `no-store` and `no-cache` allow nothing, which [`KeyPolicy::lifetime_min`] makes bearable.
#[must_use]
pub fn max_age(cache_control: &str) -> Option<Duration> {
    let mut age = None;
    for directive in cache_control.split(',') {
        let (name, value) = directive
            .split_once('=')
            .map_or((directive, ""), |(name, value)| (name, value));
        let name = name.trim();
        if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
            return Some(Duration::ZERO);
        }
        if name.eq_ignore_ascii_case("max-age") && age.is_none() {
            let digits = value.trim().trim_matches('"');
            if digits.bytes().all(|digit| digit.is_ascii_digit()) && !digits.is_empty() {
                age = Some(Duration::from_secs(digits.parse().unwrap_or(u64::MAX)));
            }
        }
    }
    age
}

#[cfg(test)]
mod tests;
