//! Failed logins: counted, told the log, answered late, and banned for a time.

use std::collections::BTreeMap;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use midge_access::dynsec::BanBook;
use midge_access::lockout::{Ban, Lockout, Settings, Subject};
use midge_broker::{ConnId, Limit, Limits, LoginAnswer, Time};

use super::attempt::{Refused, Who};
use crate::log::{Kind, Logger, escape};

/// Refusals that are held back at a time. Further ones are told at once.
pub(super) const HELD_MAX: usize = 16_384;

/// Characters of a name that a line shows.
const NAME_CHARS_SHOWN: usize = 100;

/// Bans that are listed in the log.
const BANS_LOGGED_MAX: usize = 1_000;

/// Who failed to log in lately, on any listener.
pub(super) struct Failures {
    lockout: Mutex<Lockout<RandomState>>,
    pub(super) limits: Arc<Limits>,
}

impl Failures {
    pub(super) fn new() -> Self {
        let lockout = Lockout::new(Settings::default(), RandomState::new());
        Self {
            lockout: Mutex::new(lockout),
            limits: Arc::default(),
        }
    }

    pub(super) fn set(&self, settings: Settings) {
        self.lock().set(settings);
    }

    /// The refusal of somebody who is banned. It is told at once, since it costs nothing, and counts for
    /// nothing.
    pub(super) fn check(&self, now: Duration, who: &Who) -> Option<Refused> {
        let why = self.ban(now, who.address, who.user_name.as_deref())?;
        Some(Refused::new("auth_fail_max", why))
    }

    /// The words of the ban that somebody is under.
    pub(super) fn ban(
        &self,
        now: Duration,
        address: Option<IpAddr>,
        user_name: Option<&str>,
    ) -> Option<String> {
        let ban = self.lock().check(now, address, user_name)?;
        let left = ban.until.saturating_sub(now).as_secs() + 1;
        Some(format!("{} is banned for {left} s more", ban.subject))
    }

    /// The bans, for administrators.
    pub(super) fn book(&self, now: Duration) -> Book<'_> {
        Book {
            lockout: self.lock(),
            now,
            banned: Vec::new(),
        }
    }

    /// Writes a line for each ban, up to [`BANS_LOGGED_MAX`].
    pub(super) fn log_bans(&self, now: Duration, logger: &Logger) {
        let (bans, more) = {
            let lockout = self.lock();
            let mut all = lockout.bans(now);
            let bans: Vec<_> = all.by_ref().take(BANS_LOGGED_MAX).collect();
            (bans, all.count())
        };
        for ban in bans {
            let left = ban.until.saturating_sub(now).as_secs() + 1;
            let text = format!("{ban}, {left} s of them to come.");
            logger.log(Kind::Information, text);
        }
        if more > 0 {
            logger.log(Kind::Information, format!("{more} bans more."));
        }
    }

    pub(super) fn succeeded(&self, who: &Who, user_name: Option<&str>) {
        self.lock().succeeded(who.address, user_name);
    }

    /// Counts a failed login and writes its line; how long the refusal is to be held back.
    pub(super) fn failed(
        &self,
        now: Duration,
        who: &Who,
        refused: &Refused,
        logger: &Logger,
    ) -> Duration {
        self.failed_as(who.user_name.as_deref(), now, who, refused, logger)
    }

    /// The same where the name that was said need not be that of the user whom this counts for.
    pub(super) fn failed_as(
        &self,
        user_name: Option<&str>,
        now: Duration,
        who: &Who,
        refused: &Refused,
        logger: &Logger,
    ) -> Duration {
        let Some(tried) = &refused.tried else {
            return Duration::ZERO;
        };
        let failed = self.lock().failed(now, who.address, user_name, tried);
        logger.log(Kind::Notice, line(who, refused, failed.failures));
        for ban in &failed.bans {
            let at = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
            self.limits.reached(Limit::FailedLogins, Time(at));
            logger.log(Kind::Warning, format!("Login ban: {ban}."));
        }
        failed.delay
    }

    fn lock(&self) -> MutexGuard<'_, Lockout<RandomState>> {
        self.lockout.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bans while an administrator looks at them.
pub(super) struct Book<'a> {
    lockout: MutexGuard<'a, Lockout<RandomState>>,
    now: Duration,
    /// Who has been banned by this request.
    pub(super) banned: Vec<Subject>,
}

impl BanBook for Book<'_> {
    fn list(&self) -> Vec<(Ban, u64)> {
        let left = |ban: &Ban| ban.until.saturating_sub(self.now).as_secs() + 1;
        let bans = self.lockout.bans(self.now);
        bans.map(|ban| (ban.clone(), left(&ban))).collect()
    }

    fn ban(&mut self, subject: &Subject, length: Option<Duration>) -> Ban {
        let length = length.unwrap_or_else(|| self.lockout.settings().ban);
        self.banned.push(subject.clone());
        self.lockout.ban(self.now, subject, length)
    }

    fn is_exempt(&self, address: IpAddr) -> bool {
        self.lockout.is_exempt(address)
    }

    fn lift(&mut self, subject: &Subject) -> bool {
        self.lockout.lift(subject)
    }
}

/// A line for programs such as fail2ban. What the client chose comes after its address, so that it cannot
/// pass for another one.
pub(super) fn line(who: &Who, refused: &Refused, failures: usize) -> String {
    let address = who
        .address
        .map_or_else(|| "unix".to_owned(), |address| address.to_string());
    let user_name = who.user_name.as_deref().unwrap_or_default();
    format!(
        "Login failed: address {address}, failures {failures}, listener {}, user '{}', client '{}', \
         method {}: {}.",
        who.port,
        shown(user_name),
        shown(&who.client_id),
        refused.method,
        refused.why,
    )
}

/// A name as far as a line shows it.
fn shown(name: &str) -> String {
    let beginning: String = name.chars().take(NAME_CHARS_SHOWN).collect();
    let dots = if beginning.len() < name.len() {
        "..."
    } else {
        ""
    };
    escape(&beginning).into_owned() + dots
}

/// Refusals that are held back, by the time when they are told.
#[derive(Default)]
pub(super) struct Held(Mutex<HeldQueue>);

#[derive(Default)]
struct HeldQueue {
    by_time: BTreeMap<(Duration, u64), HeldAnswer>,
    next: u64,
}

/// An answer and who gets it.
pub(super) struct HeldAnswer {
    pub(super) worker: u16,
    pub(super) conn: ConnId,
    pub(super) answer: LoginAnswer,
}

impl Held {
    /// Holds an answer back; gives it again when too many are held.
    pub(super) fn hold(&self, until: Duration, held: HeldAnswer) -> Result<(), LoginAnswer> {
        let mut queue = self.lock();
        if queue.by_time.len() >= HELD_MAX {
            return Err(held.answer);
        }
        let number = queue.next;
        queue.next += 1;
        queue.by_time.insert((until, number), held);
        Ok(())
    }

    /// Takes the answers whose time has come.
    pub(super) fn due(&self, now: Duration) -> Vec<HeldAnswer> {
        let mut queue = self.lock();
        let later = queue.by_time.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut queue.by_time, later);
        due.into_values().collect()
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Duration> {
        let queue = self.lock();
        queue.by_time.keys().next().map(|(until, _)| *until)
    }

    fn lock(&self) -> MutexGuard<'_, HeldQueue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
