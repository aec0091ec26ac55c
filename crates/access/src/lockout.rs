//! Failed logins: counted, answered late, and banned for a time.
//!
//! What a broker does with it: asks [`Lockout::check`] before it looks at a password, tells it the end with
//! [`Lockout::failed`] or [`Lockout::succeeded`], and holds the refusal back for as long as `failed` says. Time
//! is an argument: the time since any fixed moment, that never goes back.
//!
//! Options, as they are proposed for `mosquitto.conf`:
//!
//! | option | default | [`Settings`] |
//! |---|---|---|
//! | `auth_fail_max` | 10 | failures of an address until it is banned; 0 for never |
//! | `auth_fail_user_max` | 100 | failures of a user, from anywhere, until it is banned; 0 for never |
//! | `auth_fail_window` | 300 s | what is longer ago does not count |
//! | `auth_fail_ban` | 300 s | how long the first ban is; each further one is twice as long |
//! | `auth_fail_ban_max` | 86400 s | and no longer than this |
//! | `auth_fail_delay` | 250 ms | how long the first refusal is held back; each further one twice as long |
//! | `auth_fail_delay_max` | 5000 ms | and no longer than this |
//! | `auth_fail_exempt` | loopback | addresses and networks that are never banned: gateways, proxies |
//!
//! - An IPv6 address counts as its /64 network, which one customer has as a whole.
//! - The same wrong password again is a device that was forgotten when passwords were changed, not somebody who
//!   guesses: it is delayed and does not count. So a broken device does not get its whole site banned.
//! - A ban of a user does not hold for the last addresses that it has logged in from, so that nobody can lock
//!   others out by failing in their name.
//! - Memory is bounded whatever comes from how many addresses with how many names: see [`ADDRESSES_MAX`],
//!   [`USERS_MAX`]. When there are more, those that failed longest ago are forgotten first, and bans last.

use std::fmt;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::Duration;

use crate::lines::shown;

mod network;
mod table;

pub use network::{Network, NetworkError};

pub(crate) use network::Prefix;
pub(crate) use table::{Table, Worth};

/// As many addresses are remembered, with 100 bytes or so each and 16 for each failure.
pub const ADDRESSES_MAX: usize = 65_536;

/// As many users are remembered that logins failed for, and as many that succeeded.
pub const USERS_MAX: usize = 16_384;

/// The highest number of failures that can be asked for.
pub const FAILURES_MAX: usize = 1_000;

/// Addresses of a user that a ban of the user does not hold for.
const GOOD_ADDRESSES_MAX: usize = 4;

/// A longer name is remembered by its beginning and a hash.
const NAME_BYTES_MAX: usize = 128;

/// What is banned when, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Failures of an address within `window` that ban it; 0 bans none. At most [`FAILURES_MAX`].
    pub failures_max: usize,
    /// Failures of a user within `window` that ban it; 0 bans none. At most [`FAILURES_MAX`].
    pub user_failures_max: usize,
    /// How long a failure counts.
    pub window: Duration,
    /// The length of the first ban.
    pub ban: Duration,
    /// The length of the longest ban.
    pub ban_max: Duration,
    /// How long the refusal of the first failure is held back; zero for not at all.
    pub delay: Duration,
    /// How long a refusal is held back at most.
    pub delay_max: Duration,
    /// Addresses that are never banned.
    pub exempt: Vec<Network>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            failures_max: 10,
            user_failures_max: 100,
            window: Duration::from_secs(300),
            ban: Duration::from_secs(300),
            ban_max: Duration::from_secs(86_400),
            delay: Duration::from_millis(250),
            delay_max: Duration::from_secs(5),
            exempt: Network::LOOPBACK.to_vec(),
        }
    }
}

/// Who is banned.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// An address, or for IPv6 a network of 64 bits.
    Address(Network),
    /// A user name. A long one is cut, with a hash at its end.
    User(Box<str>),
}

impl Subject {
    /// An address as it is banned: for IPv6, its network.
    #[must_use]
    pub fn of_address(address: IpAddr) -> Self {
        Self::Address(Prefix::of(address).network())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(network) => write!(out, "address {network}"),
            Self::User(name) => write!(out, "user '{}'", shown(name)),
        }
    }
}

/// A ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Who is banned.
    pub subject: Subject,
    /// When it ends, in the time of the caller.
    pub until: Duration,
    /// How long it is from its beginning.
    pub length: Duration,
    /// How many failed logins led to it.
    pub failures: usize,
}

impl fmt::Display for Ban {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (subject, length, failures) = (&self.subject, self.length.as_secs(), self.failures);
        write!(
            out,
            "{subject} is banned for {length} s after {failures} failed logins"
        )
    }
}

/// What follows from a failed login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// How long to wait before the peer is told.
    pub delay: Duration,
    /// The failures of the address within the window, this one included if it counts.
    pub failures: usize,
    /// Bans that begin with it: of the address, of the user, or of both.
    pub bans: Vec<Ban>,
}

/// Failed logins and bans.
pub struct Lockout<S> {
    settings: Settings,
    addresses: Table<Prefix, Record>,
    users: Table<Box<str>, Record>,
    /// Where users have logged in from, the last one first.
    good: Table<Box<str>, Vec<Prefix>>,
    /// For what must not be guessed: the hashes of passwords and long names.
    hasher: S,
}

impl<S: BuildHasher> Lockout<S> {
    /// Nothing has failed yet. `hasher` hashes passwords and names; use one with random keys, such as
    /// [`std::hash::RandomState`].
    pub fn new(settings: Settings, hasher: S) -> Self {
        Self {
            settings,
            addresses: Table::new(ADDRESSES_MAX),
            users: Table::new(USERS_MAX),
            good: Table::new(USERS_MAX),
            hasher,
        }
    }

    /// The settings that hold.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes other settings. Bans and failures stay; what is counted and banned from now on is by these.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// The ban that keeps somebody from logging in, if there is one: nothing is to be verified then.
    #[must_use]
    pub fn check(
        &self,
        now: Duration,
        address: Option<IpAddr>,
        user_name: Option<&str>,
    ) -> Option<Ban> {
        let prefix = address.map(Prefix::of);
        if let (Some(address), Some(prefix)) = (address, prefix)
            && !self.is_exempt(address)
            && let Some(record) = self.addresses.get(&prefix)
            && let Some(ban) = record.ban(now, || Subject::Address(prefix.network()))
        {
            return Some(ban);
        }
        let name = self.name(user_name?);
        let ban = self
            .users
            .get(&name)?
            .ban(now, || Subject::User(name.clone()))?;
        let good = self.good.get(&name);
        let is_good = prefix.is_some_and(|prefix| good.is_some_and(|good| good.contains(&prefix)));
        (!is_good).then_some(ban)
    }

    /// Counts a failed login. With the same user and password as before from there, it is not counted again;
    /// where there is no password, as with SCRAM or a token, give bytes that differ with each attempt, such as
    /// the proof.
    pub fn failed(
        &mut self,
        now: Duration,
        address: Option<IpAddr>,
        user_name: Option<&str>,
        password: &[u8],
    ) -> Failed {
        let mut failed = Failed {
            delay: Duration::ZERO,
            failures: 0,
            bans: Vec::new(),
        };
        let attempt = self.attempt(user_name, password);
        let settings = &self.settings;
        if let Some(address) = address {
            let prefix = Prefix::of(address);
            let record = self
                .addresses
                .entry(prefix, |record| record.worth(now, settings));
            record.count(now, attempt, settings.failures_max, settings);
            failed.failures = record.failures.len();
            failed.delay = settings.delay_of(record.repeats);
            if !self.is_exempt(address) {
                let subject = || Subject::Address(prefix.network());
                let record = self.addresses.get_mut(&prefix);
                failed.bans.extend(record.and_then(|record| {
                    record.begin_ban(now, self.settings.failures_max, &self.settings, subject)
                }));
            }
        }
        if let Some(user_name) = user_name {
            let name = self.name(user_name);
            let settings = &self.settings;
            let record = self
                .users
                .entry(name.clone(), |record| record.worth(now, settings));
            record.count(now, attempt, settings.user_failures_max, settings);
            failed.delay = failed.delay.max(settings.delay_of(record.repeats));
            let most = settings.user_failures_max;
            failed
                .bans
                .extend(record.begin_ban(now, most, settings, || Subject::User(name)));
        }
        failed
    }

    /// Notes a login that succeeded. It takes no failure back: who has an account could guess others between
    /// two logins of its own.
    pub fn succeeded(&mut self, address: Option<IpAddr>, user_name: Option<&str>) {
        let (Some(address), Some(user_name)) = (address, user_name) else {
            return;
        };
        let prefix = Prefix::of(address);
        let name = self.name(user_name);
        let good = self.good.entry(name, |_| Worth::Something);
        good.retain(|known| *known != prefix);
        good.insert(0, prefix);
        good.truncate(GOOD_ADDRESSES_MAX);
    }

    /// All bans that hold, in no order.
    pub fn bans(&self, now: Duration) -> impl Iterator<Item = Ban> {
        let addresses = self.addresses.iter().filter_map(move |(prefix, record)| {
            record.ban(now, || Subject::Address(prefix.network()))
        });
        let users = self
            .users
            .iter()
            .filter_map(move |(name, record)| record.ban(now, || Subject::User(name.clone())));
        addresses.chain(users)
    }

    /// Bans somebody by hand. An address that is exempt, and the good addresses of a user, get in all the same.
    pub fn ban(&mut self, now: Duration, subject: &Subject, length: Duration) -> Ban {
        let settings = &self.settings;
        let record = match subject {
            Subject::Address(network) => {
                let prefix = Prefix::of(network.address());
                self.addresses
                    .entry(prefix, |record| record.worth(now, settings))
            }
            Subject::User(name) => {
                let name = self.name(name);
                self.users.entry(name, |record| record.worth(now, settings))
            }
        };
        let until = now.saturating_add(length);
        let failures = record.failures.len();
        record.banned = Some(Banned {
            until,
            length,
            failures,
        });
        Ban {
            subject: subject.clone(),
            until,
            length,
            failures,
        }
    }

    /// Lifts a ban and forgets the failures that led to it; says whether there was something to forget.
    pub fn lift(&mut self, subject: &Subject) -> bool {
        match subject {
            Subject::Address(network) => self.addresses.remove(&Prefix::of(network.address())),
            Subject::User(name) => {
                let name = self.name(name);
                self.users.remove(&name)
            }
        }
    }

    /// How many addresses and users are remembered.
    #[must_use]
    pub fn remembered(&self) -> (usize, usize) {
        (self.addresses.len(), self.users.len())
    }

    /// Whether an address is never banned.
    #[must_use]
    pub fn is_exempt(&self, address: IpAddr) -> bool {
        self.settings
            .exempt
            .iter()
            .any(|network| network.contains(address))
    }

    /// What tells one guess from another.
    fn attempt(&self, user_name: Option<&str>, password: &[u8]) -> u32 {
        // Half of the hash is enough to tell some hundred guesses apart.
        let hash = self.hasher.hash_one((user_name, password));
        u32::try_from(hash >> 32).unwrap_or_default()
    }

    /// A name as it is remembered: a cut one still is one name's alone.
    fn name(&self, name: &str) -> Box<str> {
        if name.len() <= NAME_BYTES_MAX {
            return name.into();
        }
        let beginning = name.floor_char_boundary(NAME_BYTES_MAX - 20);
        let beginning = name.get(..beginning).unwrap_or_default();
        let hash = self.hasher.hash_one(name);
        format!("{beginning}…{hash:016x}").into()
    }
}

impl<S> fmt::Debug for Lockout<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = out.debug_struct("Lockout");
        out.field("settings", &self.settings)
            .field("addresses", &self.addresses.len())
            .field("users", &self.users.len())
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// How long a refusal is held back after so many failures.
    fn delay_of(&self, failures: usize) -> Duration {
        doubled(self.delay, failures.saturating_sub(1), self.delay_max)
    }
}

/// `first`, doubled so many times, and `most` at most.
fn doubled(first: Duration, times: usize, most: Duration) -> Duration {
    let times = u32::try_from(times).unwrap_or(u32::MAX);
    let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(most)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What is known of an address or a user.
#[derive(Clone, Debug, Default)]
struct Record {
    /// When and with what it failed; the oldest first.
    failures: Vec<Failure>,
    /// Failures as long as there is something to remember, those with the same password included.
    repeats: usize,
    last: Duration,
    /// How many bans there were, and the last one.
    bans: usize,
    banned: Option<Banned>,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    /// In milliseconds.
    at: u64,
    attempt: u32,
}

#[derive(Clone, Copy, Debug)]
struct Banned {
    until: Duration,
    length: Duration,
    failures: usize,
}

impl Record {
    fn count(&mut self, now: Duration, attempt: u32, most: usize, settings: &Settings) {
        if self.worth(now, settings) == Worth::Nothing {
            *self = Self::default();
        }
        self.repeats = self.repeats.saturating_add(1);
        self.last = now;
        let (at, window) = (millis(now), millis(settings.window));
        self.failures
            .retain(|failure| at.saturating_sub(failure.at) <= window);
        if self
            .failures
            .iter()
            .any(|failure| failure.attempt == attempt)
        {
            return;
        }
        let most = most.clamp(1, FAILURES_MAX);
        if self.failures.len() >= most {
            self.failures.remove(0);
        }
        self.failures.push(Failure { at, attempt });
    }

    fn begin_ban(
        &mut self,
        now: Duration,
        most: usize,
        settings: &Settings,
        subject: impl FnOnce() -> Subject,
    ) -> Option<Ban> {
        if most == 0 || self.failures.len() < most.min(FAILURES_MAX) {
            return None;
        }
        let length = doubled(settings.ban, self.bans, settings.ban_max);
        self.banned = Some(Banned {
            until: now.saturating_add(length),
            length,
            failures: self.failures.len(),
        });
        self.bans = self.bans.saturating_add(1);
        // Each ban needs failures of its own.
        self.failures = Vec::new();
        self.ban(now, subject)
    }

    /// The ban that holds now.
    fn ban(&self, now: Duration, subject: impl FnOnce() -> Subject) -> Option<Ban> {
        let banned = self.banned.filter(|banned| now < banned.until)?;
        Some(Ban {
            subject: subject(),
            until: banned.until,
            length: banned.length,
            failures: banned.failures,
        })
    }

    /// What would be lost without it: a ban, one that ended no longer ago than it was long, or a failure within
    /// the window.
    fn worth(&self, now: Duration, settings: &Settings) -> Worth {
        match self.banned {
            Some(banned) if now < banned.until => Worth::Much,
            Some(banned) if now < banned.until.saturating_add(banned.length) => Worth::Something,
            _ if now.saturating_sub(self.last) <= settings.window => Worth::Something,
            _ => Worth::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
