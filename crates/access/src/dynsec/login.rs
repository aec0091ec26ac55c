//! Whether somebody is who they say.

use crate::passwords::{Cost, Hashing, Verifier};

use super::state::{Password, State};

/// A login whose password is still to be verified; a value for another thread.
#[derive(Clone, Debug)]
pub struct Check {
    verifier: Verifier,
    right: LoginVerdict,
    wrong: LoginVerdict,
}

/// How a login ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginVerdict {
    /// The client is who it says.
    Accepted,
    /// It is not, and no other method is asked.
    Refused(Refusal),
    /// Dynamic security has nothing to say; another method may know the user.
    Unknown,
}

/// Why a login was refused: for the log, not for the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `disableClient` was used on it.
    Disabled,
    /// It is bound to another client id.
    ClientId,
    /// It has no usable password.
    NoPassword,
    /// The password is wrong.
    Password,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Disabled => "the client is disabled",
            Self::ClientId => "the user is bound to another client id",
            Self::NoPassword => "the client has no password",
            Self::Password => "wrong password",
        })
    }
}

impl State {
    /// The verifier of a user who may log in.
    #[must_use]
    pub fn verifier(&self, user_name: &str) -> Option<&Verifier> {
        let account = self.clients.get(user_name)?;
        match &account.password {
            Password::Hash(verifier) if !account.disabled => Some(verifier),
            _ => None,
        }
    }

    /// Whether there is such a user.
    #[must_use]
    pub fn contains(&self, user_name: &str) -> bool {
        self.clients.contains_key(user_name)
    }

    /// What a password has to be checked against. Cheap; [`Check::verify`] is not.
    ///
    /// `None` for a client without user name or without password: dynamic security leaves it to others.
    /// Whatever else is wrong, there is a check of usual cost, so that its duration says nothing about
    /// which users exist.
    #[must_use]
    pub fn login(
        &self,
        user_name: Option<&str>,
        client_id: &str,
        has_password: bool,
    ) -> Option<Check> {
        let user_name = user_name?;
        if !has_password {
            return None;
        }
        let Some(account) = self.clients.get(user_name) else {
            return Some(Check::lost(self.decoy(), LoginVerdict::Unknown));
        };
        let Password::Hash(verifier) = &account.password else {
            let refusal = if account.disabled {
                Refusal::Disabled
            } else {
                Refusal::NoPassword
            };
            return Some(Check::lost(self.decoy(), LoginVerdict::Refused(refusal)));
        };
        let fault = if account.disabled {
            Some(Refusal::Disabled)
        } else if account
            .client_id
            .as_deref()
            .is_some_and(|id| id != client_id)
        {
            Some(Refusal::ClientId)
        } else {
            None
        };
        Some(match fault {
            Some(fault) => Check::lost(verifier.clone(), LoginVerdict::Refused(fault)),
            None => Check {
                verifier: verifier.clone(),
                right: LoginVerdict::Accepted,
                wrong: LoginVerdict::Refused(Refusal::Password),
            },
        })
    }

    /// A hash of the cost that a user of this state usually has: that of the first with a password.
    fn decoy(&self) -> Verifier {
        let hashing = self
            .clients
            .values()
            .take(16)
            .find_map(|account| match &account.password {
                Password::Hash(verifier) => Some(verifier.hashing()),
                Password::None | Password::Unusable(_) => None,
            })
            .unwrap_or(Hashing::SHA512_PBKDF2);
        Verifier::decoy(hashing)
    }
}

impl Check {
    /// A check that ends the same way whatever the password.
    const fn lost(verifier: Verifier, verdict: LoginVerdict) -> Self {
        Self {
            verifier,
            right: verdict,
            wrong: verdict,
        }
    }

    /// What the password is verified against, if the right one lets in.
    #[must_use]
    pub fn verifier(&self) -> Option<&Verifier> {
        (self.right == LoginVerdict::Accepted).then_some(&self.verifier)
    }

    /// What [`verify`](Self::verify) takes.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.verifier.cost()
    }

    /// Verifies the password. Slow by design, for a thread that no client waits for but this one.
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> LoginVerdict {
        if self.verifier.verify(password) {
            self.right
        } else {
            self.wrong
        }
    }
}

#[cfg(test)]
mod tests;
