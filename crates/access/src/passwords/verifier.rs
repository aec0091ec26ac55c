//! What the password file keeps of a password.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD_NO_PAD};
use base64::engine::{DecodePaddingMode, general_purpose};
use subtle::ConstantTimeEq as _;

use super::hashing::{Cost, Hashing, HashingError};
use super::scram_keys::ScramKeys;

/// Longest salt that is read, in bytes.
const SALT_BYTES_MAX: usize = 1_024;

/// Shortest and longest Argon2 hash that is read, in bytes. A shorter one would be easy to meet.
const ARGON2_BYTES: std::ops::RangeInclusive<usize> = 16..=512;

/// What a hash of SHA-512 has.
const SHA512_BYTES: usize = 64;

/// What a new Argon2 hash has.
const ARGON2_BYTES_NEW: usize = 32;

/// What is kept of a password, so that one who gives it again can be told from one who does not.
///
/// `Display` gives the text of the password file. `Debug` shows neither salt nor hash. Comparing two with `==`
/// is for tools: the time that it takes tells where they differ.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    hashing: Hashing,
    salt: Box<[u8]>,
    /// The hash; for SCRAM both keys.
    secret: Secret,
}

#[derive(Clone, PartialEq, Eq)]
enum Secret {
    Hash(Box<[u8]>),
    Scram(ScramKeys),
}

impl Verifier {
    /// Hashes `password` with `salt`, which must come from a source of good randomness and be new for each
    /// password; [`Hashing::salt_len`] says how long it should be.
    ///
    /// # Errors
    /// When `hashing` is beyond its limits, or the salt is too short (8 bytes for Argon2, else 1) or longer
    /// than 1,024 bytes.
    pub fn create(hashing: Hashing, password: &[u8], salt: &[u8]) -> Result<Self, HashingError> {
        hashing.check()?;
        check_salt(hashing, salt)?;
        let secret = match hashing {
            Hashing::Sha512 | Hashing::Sha512Pbkdf2 { .. } | Hashing::Argon2id { .. } => {
                let is_argon2 = matches!(hashing, Hashing::Argon2id { .. });
                let length = if is_argon2 {
                    ARGON2_BYTES_NEW
                } else {
                    SHA512_BYTES
                };
                let mut hash = vec![0; length].into_boxed_slice();
                hashing.derive(password, salt, &mut hash)?;
                Secret::Hash(hash)
            }
            Hashing::ScramSha256 { .. } | Hashing::ScramSha512 { .. } => {
                Secret::Scram(ScramKeys::derive(hashing, password, salt)?)
            }
        };
        Ok(Self {
            hashing,
            salt: salt.into(),
            secret,
        })
    }

    /// A verifier of a hash that was made elsewhere.
    ///
    /// # Errors
    /// When something is beyond its limits, or the hash has not the length that `hashing` gives it; for the
    /// SCRAM forms always, see [`Verifier::parse`].
    pub fn from_hash(hashing: Hashing, salt: &[u8], hash: &[u8]) -> Result<Self, HashingError> {
        hashing.check()?;
        check_salt(hashing, salt)?;
        let fits = match hashing {
            Hashing::Sha512 | Hashing::Sha512Pbkdf2 { .. } => hash.len() == SHA512_BYTES,
            Hashing::Argon2id { .. } => ARGON2_BYTES.contains(&hash.len()),
            Hashing::ScramSha256 { .. } | Hashing::ScramSha512 { .. } => false,
        };
        if !fits {
            return Err(HashingError(format!("a hash of {} bytes", hash.len())));
        }
        Ok(Self {
            hashing,
            salt: salt.into(),
            secret: Secret::Hash(hash.into()),
        })
    }

    /// Reads the text of the password file, from its first `$` on.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, HashingError> {
        let wrong = |text: &str| Err(HashingError(text.to_owned()));
        let mut parts = text.split('$');
        let (Some(""), Some(kind)) = (parts.next(), parts.next()) else {
            return wrong("it does not begin with $6$, $7$, $argon2id$ or $scram-sha-256$");
        };
        let hashing = match kind {
            "6" => Hashing::Sha512,
            "7" => Hashing::Sha512Pbkdf2 {
                iterations: number("the iterations", parts.next())?,
            },
            "argon2id" => argon2_settings(parts.next(), parts.next())?,
            "scram-sha-256" => Hashing::ScramSha256 {
                iterations: number("the iterations", parts.next())?,
            },
            "scram-sha-512" => Hashing::ScramSha512 {
                iterations: number("the iterations", parts.next())?,
            },
            "1" | "2a" | "2b" | "2y" | "5" | "y" | "apr1" => {
                return Err(HashingError(format!(
                    "${kind}$ is a hash of crypt(3) or a web server, which no MQTT broker reads"
                )));
            }
            other => {
                let other = crate::lines::shown(other);
                return Err(HashingError(format!("there is no hash type ${other}$")));
            }
        };
        hashing.check()?;
        let salt = decoded("the salt", parts.next())?;
        check_salt(hashing, &salt)?;
        let first = decoded("the hash", parts.next())?;
        let verifier = match hashing {
            Hashing::ScramSha256 { .. } | Hashing::ScramSha512 { .. } => {
                let second = decoded("the server key", parts.next())?;
                let keys = ScramKeys::from_parts(hashing, &first, &second)?;
                Self {
                    hashing,
                    salt: salt.into(),
                    secret: Secret::Scram(keys),
                }
            }
            Hashing::Sha512 | Hashing::Sha512Pbkdf2 { .. } | Hashing::Argon2id { .. } => {
                Self::from_hash(hashing, &salt, &first)?
            }
        };
        match parts.next() {
            None => Ok(verifier),
            Some(_) => wrong("there is a $ too many"),
        }
    }

    /// A verifier that takes as long as another of this hashing, and that no password meets.
    pub(crate) fn decoy(hashing: Hashing) -> Self {
        Self {
            hashing,
            salt: vec![0; hashing.salt_len()].into(),
            secret: match hashing {
                Hashing::ScramSha256 { .. } | Hashing::ScramSha512 { .. } => {
                    Secret::Scram(ScramKeys::decoy(hashing))
                }
                Hashing::Argon2id { .. } => Secret::Hash(vec![0; ARGON2_BYTES_NEW].into()),
                Hashing::Sha512 | Hashing::Sha512Pbkdf2 { .. } => {
                    Secret::Hash(vec![0; SHA512_BYTES].into())
                }
            },
        }
    }

    /// Whether `password` is the one. This takes [`Verifier::cost`]; the comparison takes the same time
    /// whatever it finds.
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> bool {
        match &self.secret {
            Secret::Hash(hash) => {
                let mut found = vec![0; hash.len()];
                let derived = self.hashing.derive(password, &self.salt, &mut found);
                derived.is_ok() && bool::from(found.ct_eq(hash))
            }
            Secret::Scram(keys) => ScramKeys::derive(self.hashing, password, &self.salt)
                .is_ok_and(|found| found.is_same(keys)),
        }
    }

    /// Salt and keys, when it has some for SCRAM.
    pub(crate) fn scram(&self) -> Option<(&[u8], &ScramKeys)> {
        match &self.secret {
            Secret::Hash(_) => None,
            Secret::Scram(keys) => Some((&self.salt, keys)),
        }
    }

    /// How long the salt is.
    pub(super) const fn salt_bytes(&self) -> usize {
        self.salt.len()
    }

    /// How the password was hashed.
    #[must_use]
    pub const fn hashing(&self) -> Hashing {
        self.hashing
    }

    /// What [`Verifier::verify`] takes.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.hashing.cost()
    }
}

fn check_salt(hashing: Hashing, salt: &[u8]) -> Result<(), HashingError> {
    let least = match hashing {
        Hashing::Argon2id { .. } => 8,
        _ => 1,
    };
    if (least..=SALT_BYTES_MAX).contains(&salt.len()) {
        return Ok(());
    }
    let length = salt.len();
    Err(HashingError(format!(
        "the salt has from {least} to {SALT_BYTES_MAX} bytes, not {length}"
    )))
}

fn number(what: &str, text: Option<&str>) -> Result<u32, HashingError> {
    let text = text.unwrap_or_default();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or_else(|| {
        HashingError(format!(
            "{what} are no number from 1 to {}",
            super::ITERATIONS_MAX
        ))
    })
}

/// `v=19` and `m=47104,t=1,p=1`.
fn argon2_settings(version: Option<&str>, settings: Option<&str>) -> Result<Hashing, HashingError> {
    if version != Some("v=19") {
        return Err(HashingError(
            "only version 19 of Argon2 is known: v=19".into(),
        ));
    }
    let mut settings = settings.unwrap_or_default().split(',');
    let mut next = |name: &str| {
        let setting = settings.next().and_then(|setting| setting.split_once('='));
        match setting {
            Some((found, value)) if found == name => number("m, t and p", Some(value)),
            _ => Err(HashingError(
                "the settings have not the form m=47104,t=1,p=1".into(),
            )),
        }
    };
    let hashing = Hashing::Argon2id {
        memory_kib: next("m")?,
        passes: next("t")?,
        lanes: next("p")?,
    };
    match settings.next() {
        None => Ok(hashing),
        Some(_) => Err(HashingError(
            "Argon2 with a key identifier or associated data is not supported".into(),
        )),
    }
}

fn decoded(what: &str, text: Option<&str>) -> Result<Vec<u8>, HashingError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Err(HashingError(format!("{what} is missing")));
    };
    // `$argon2id$` is written without padding, the others with it.
    BASE64
        .decode(text)
        .map_err(|_| HashingError(format!("{what} is no base64")))
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl fmt::Display for Verifier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let padded = |bytes: &[u8]| general_purpose::STANDARD.encode(bytes);
        match self.hashing {
            Hashing::Sha512 => out.write_str("$6$")?,
            Hashing::Sha512Pbkdf2 { iterations } => write!(out, "$7${iterations}$")?,
            Hashing::Argon2id {
                memory_kib,
                passes,
                lanes,
            } => write!(out, "$argon2id$v=19$m={memory_kib},t={passes},p={lanes}$")?,
            Hashing::ScramSha256 { iterations } | Hashing::ScramSha512 { iterations } => {
                write!(out, "${}${iterations}$", self.hashing.name())?;
            }
        }
        match &self.secret {
            Secret::Hash(hash) if matches!(self.hashing, Hashing::Argon2id { .. }) => {
                let [salt, hash] = [&self.salt, hash].map(|bytes| STANDARD_NO_PAD.encode(bytes));
                write!(out, "{salt}${hash}")
            }
            Secret::Hash(hash) => write!(out, "{}${}", padded(&self.salt), padded(hash)),
            Secret::Scram(keys) => {
                let [stored, server] = [keys.stored(), keys.server()].map(padded);
                write!(out, "{}${stored}${server}", padded(&self.salt))
            }
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = out.debug_struct("Verifier");
        out.field("hashing", &self.hashing).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
