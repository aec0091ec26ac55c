//! One password on its way through the methods that know passwords, and those that were right lately.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use midge_access::dynsec;
use midge_access::passwords::{self, Mark, Verified};
use midge_broker::Identity;

use super::attempt::{Refused, Verdict};
use super::gate::{Gate, HttpCheck};

/// What the log calls the methods.
const PASSWORD_FILE: &str = "password_file";
const DYNSEC: &str = "dynamic security";

/// How far a check has come.
pub(super) enum Checked {
    Judged(Verdict),
    /// Nobody here knows the user.
    AskHttp(Box<HttpCheck>),
}

/// A password that is to be checked, on a thread that serves nobody else.
pub(super) struct Check {
    pub(super) passwords: Option<passwords::Check>,
    pub(super) dynsec: Option<dynsec::Check>,
    pub(super) password: Option<Box<[u8]>>,
    pub(super) accepted: Box<Identity>,
    /// What is remembered of the password when it is right, and what the login rests on then.
    pub(super) by_file: Option<Rests>,
    pub(super) by_dynsec: Option<Rests>,
    pub(super) verified: Arc<VerifiedLogins>,
    /// Who is asked when nobody here knows the user.
    pub(super) gate: Option<Arc<Gate>>,
}

/// What a login by password rests on.
#[derive(Clone, Copy)]
pub(super) struct Rests {
    pub(super) mark: Option<Mark>,
    pub(super) seal: u64,
}

/// The passwords that were verified lately, on any listener.
pub(super) struct VerifiedLogins(Mutex<Verified>);

impl VerifiedLogins {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Verified::new(Duration::ZERO)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Verified> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Check {
    /// The password was right.
    fn accept(mut self, rests: Option<Rests>, now: Duration) -> Checked {
        if let Some(rests) = rests {
            self.accepted.seal = rests.seal;
            if let Some(mark) = rests.mark {
                self.verified.lock().note(mark, now);
            }
        }
        Checked::Judged(Verdict::Accepted(self.accepted))
    }

    /// Checks the password: by the password file, and by dynamic security for users that it knows.
    pub(super) fn run(mut self, now: Duration) -> Checked {
        let password = self.password.as_deref();
        let tried = password.unwrap_or_default();
        let mut refused = Refused::guess(PASSWORD_FILE, "wrong password", tried);
        let mut is_known = false;
        if let Some(check) = &self.passwords {
            if check.run(password) {
                let rests = self.by_file;
                return self.accept(rests, now);
            }
            is_known = check.is_known();
            if !is_known {
                "the user is not in the password file".clone_into(&mut refused.why);
            }
        }
        match self.dynsec.take().map(|check| check.verify(tried)) {
            Some(dynsec::LoginVerdict::Accepted) => {
                let rests = self.by_dynsec;
                return self.accept(rests, now);
            }
            Some(dynsec::LoginVerdict::Refused(refusal)) => {
                is_known = true;
                refused = Refused::guess(DYNSEC, refusal.to_string(), tried);
            }
            Some(dynsec::LoginVerdict::Unknown) if self.passwords.is_none() => {
                refused = Refused::guess(DYNSEC, "the user is unknown", tried);
            }
            Some(dynsec::LoginVerdict::Unknown) => {}
            None if password.is_none() => "no password was given".clone_into(&mut refused.why),
            None => {}
        }
        match self.gate {
            Some(gate) if !is_known => Checked::AskHttp(Box::new(HttpCheck {
                gate,
                password: self.password,
            })),
            _ => Checked::Judged(refused.into()),
        }
    }
}
