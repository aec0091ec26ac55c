//! The password file: who there is, and whether a password is theirs.
//!
//! A line is a user name, a colon and a hash; `#` at the beginning of a line makes it a comment. The forms
//! of the hash are those of mosquitto_passwd, `$6$`, `$7$` and `$argon2id$`, and Midge's own for SCRAM, see
//! [`Hashing`]. As in Mosquitto, spaces around name and hash do not count, a second colon and what follows it
//! is left out, and a line that cannot be used costs its user the access but nobody else.
//!
//! ```
//! use midge_access::passwords::{DecoyKey, PasswordFile};
//!
//! let text = b"# gardeners\nalice:$6$xsK5a4SnzSevnUiS$LfiioW0XFinQR55Rzv11+0GIcFH7nfWUJf6/9jDVpUPu7YMERO1\
//!     A+12WP0bB9p2PCQw+rUi3X34FStZt7HjaoA==\nbob:secret\n";
//! let (file, faults) = PasswordFile::parse(text, DecoyKey::new([7; 32])).unwrap();
//! let check = file.check("alice");
//! assert!(check.cost().micros < 10);
//! assert!(check.run(Some(b"correct horse battery staple")));
//! assert!(!check.run(Some(b"wrong")));
//! assert_eq!(faults.list[0].line, 3);
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::lines::{self, FileTooLarge, LineFaults, shown};

mod decoys;
pub mod edit;
mod hashing;
pub(crate) mod scram_keys;
mod verified;
mod verifier;

pub use hashing::{Cost, Hashing, HashingError, ITERATIONS_MAX, MEMORY_KIB_MAX, PASSES_MAX};
pub use verified::{Mark, VERIFIED_MAX, Verified};
pub use verifier::Verifier;

use decoys::{Decoys, ScramDecoys};
use scram_keys::hmac;

/// Longest user name, in bytes: as many as a CONNECT can carry.
pub const USER_NAME_BYTES_MAX: usize = 65_535;

/// A secret of the broker that decides what an unknown user looks like, so that the answer for one name is
/// the same each time and nobody can foretell it.
///
/// Make one from good randomness. Keep it as long as SCRAM clients may compare answers: best on disk.
#[derive(Clone, Copy)]
pub struct DecoyKey([u8; 32]);

impl DecoyKey {
    /// A key of these bytes.
    #[must_use]
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// Bytes for `name` that only one who has the key can know.
    pub(crate) fn of(&self, purpose: &str, name: &str) -> Box<[u8]> {
        // The purpose has no NUL, so two pairs never give one text.
        let text = [purpose.as_bytes(), b"\0", name.as_bytes()].concat();
        hmac(Hashing::SCRAM_SHA_256, &self.0, &text)
    }
}

impl fmt::Debug for DecoyKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("DecoyKey").finish_non_exhaustive()
    }
}

/// What a password file says.
#[derive(Clone, Debug)]
pub struct PasswordFile {
    users: HashMap<Box<str>, Arc<Verifier>>,
    decoys: Decoys<Arc<Verifier>>,
    scram: ScramDecoys,
    key: DecoyKey,
}

impl PasswordFile {
    /// Reads a file. What is wrong with single lines is told beside what could be read.
    ///
    /// Of several lines for one user the last counts, as in Mosquitto, and the others are told as faults.
    ///
    /// # Errors
    /// [`FileTooLarge`].
    pub fn parse(file: &[u8], key: DecoyKey) -> Result<(Self, LineFaults), FileTooLarge> {
        let mut users = HashMap::new();
        let mut faults = LineFaults::default();
        for (number, line) in lines::numbered(file)? {
            let entry = line.and_then(|line| Line::read(line).entry());
            match entry {
                Ok(None) => {}
                Ok(Some((name, verifier))) => {
                    let entry = (number, Arc::new(verifier));
                    if let Some((before, _)) = users.insert(Box::from(name), entry) {
                        let name = shown(name);
                        let text = format!(
                            "user '{name}' stands again in line {number}, which counts; remove one of \
                             them"
                        );
                        faults.push(before, text);
                    }
                }
                Err(text) => faults.push(number, text),
            }
        }
        faults.list.sort_by_key(|fault| fault.line);
        let users: HashMap<_, _> = users
            .into_iter()
            .map(|(name, (_, verifier))| (name, verifier))
            .collect();
        let hashings = users.values().map(|verifier| verifier.hashing());
        let decoys = Decoys::new(hashings, Hashing::SHA512_PBKDF2, |hashing| {
            Arc::new(Verifier::decoy(hashing))
        });
        let file = Self {
            scram: ScramDecoys::new(users.values().map(AsRef::as_ref)),
            users,
            decoys,
            key,
        };
        Ok((file, faults))
    }

    /// What has to be computed to know whether somebody is `user_name`.
    ///
    /// A name that is not in the file gives a check that takes as long as those of the file, and fails.
    /// Where users have different hashes, an unknown name has the cost of one of them, always the same, and
    /// as often as users have it.
    #[must_use]
    pub fn check(&self, user_name: &str) -> Check {
        let decoy = self.decoys.pick(&self.key.of("decoy", user_name));
        match self.users.get(user_name) {
            Some(verifier) => Check {
                verifier: Arc::clone(verifier),
                is_known: true,
            },
            None => Check {
                verifier: Arc::clone(decoy),
                is_known: false,
            },
        }
    }

    /// The verifier of a user.
    #[must_use]
    pub fn verifier(&self, user_name: &str) -> Option<&Verifier> {
        self.users.get(user_name).map(AsRef::as_ref)
    }

    /// Whether the file has the user.
    #[must_use]
    pub fn contains(&self, user_name: &str) -> bool {
        self.users.contains_key(user_name)
    }

    /// All user names, in no order.
    pub fn user_names(&self) -> impl Iterator<Item = &str> {
        self.users.keys().map(AsRef::as_ref)
    }

    /// How many users there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is no user.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

/// One login that is to be checked: owned, to be given to another thread with the password.
#[derive(Clone, Debug)]
pub struct Check {
    verifier: Arc<Verifier>,
    is_known: bool,
}

impl Check {
    /// What [`Check::run`] takes when there is a password. Above some microseconds it does not belong on a
    /// thread that serves clients.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.verifier.cost()
    }

    /// Whether the user is in the file. Not for the peer, which could try names; for the log.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.is_known
    }

    /// Whether the user exists and has this password. Without a password nothing is computed and nobody
    /// gets in.
    #[must_use]
    pub fn run(&self, password: Option<&[u8]>) -> bool {
        let Some(password) = password else {
            return false;
        };
        // Not the other way round: an unknown user must cost as much.
        self.verifier.verify(password) & self.is_known
    }
}

/// A line of the file, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line<'a> {
    /// A comment, or nothing.
    Other,
    /// A user and what stands behind the colon.
    User(&'a str, &'a str),
    /// Something without a colon, or with nothing before it.
    NoUser,
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Self {
        if line.starts_with('#') || line.trim().is_empty() {
            return Self::Other;
        }
        let Some((name, rest)) = line.split_once(':') else {
            return Self::NoUser;
        };
        let (name, hash) = (name.trim(), rest.split(':').next().unwrap_or_default());
        if name.is_empty() {
            return Self::NoUser;
        }
        Self::User(name, hash.trim())
    }

    fn entry(self) -> Result<Option<(&'a str, Verifier)>, String> {
        match self {
            Self::Other => Ok(None),
            Self::NoUser => Err(
                "this is no user: a line is NAME:HASH, made by `midge passwd FILE NAME`".to_owned(),
            ),
            Self::User(name, _) if name.len() > USER_NAME_BYTES_MAX => Err(format!(
                "the user name has {} bytes, and {USER_NAME_BYTES_MAX} is the limit",
                name.len()
            )),
            Self::User(name, "") => Err(format!(
                "user '{0}' has no password and cannot log in; set one with `midge passwd FILE '{0}'`",
                shown(name)
            )),
            Self::User(name, hash) if !hash.starts_with('$') => Err(format!(
                "user '{}' has a password that is not hashed and cannot log in; hash all such lines with \
                 `midge passwd -U FILE`",
                shown(name)
            )),
            Self::User(name, hash) => match Verifier::parse(hash) {
                Ok(verifier) => Ok(Some((name, verifier))),
                Err(error) => Err(format!(
                    "user '{0}' cannot log in, for the hash is damaged: {error}; set the password again \
                     with `midge passwd FILE '{0}'`",
                    shown(name)
                )),
            },
        }
    }
}

#[cfg(test)]
mod tests;
