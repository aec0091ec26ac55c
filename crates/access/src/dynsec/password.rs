//! The hashes of passwords that a dynamic-security file holds.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use subtle::ConstantTimeEq as _;

/// How many rounds a new PBKDF2 hash gets, as with Mosquitto 2.1.
pub const ITERATIONS_DEFAULT: u32 = 1000;

/// Above it a hash from a file would take seconds for each login.
const ITERATIONS_MAX: u32 = 10_000_000;
/// Argon2's memory, in KiB.
const ARGON2_MEMORY_MAX: u32 = 1024 * 1024;
const ARGON2_PASSES_MAX: u32 = 64;
const ARGON2_LANES_MAX: u32 = 16;
/// The length that Mosquitto 2.0 insists on; 2.1 takes it as well as its own of 64.
const SALT_BYTES: usize = 12;
const HASH_BYTES: usize = 64;

/// A salted hash of a password, in one of the forms that Mosquitto writes: `$7$` (PBKDF2 with
/// SHA-512), `$6$` (SHA-512 once) or `$argon2id$`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordHash {
    kind: Kind,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sha512,
    Pbkdf2 {
        iterations: u32,
    },
    Argon2id {
        memory: u32,
        passes: u32,
        lanes: u32,
    },
}

impl PasswordHash {
    /// Hashes a new password with PBKDF2. Slow by design.
    #[must_use]
    pub fn new(password: &[u8], salt: [u8; SALT_BYTES], iterations: u32) -> Self {
        let mut new = Self {
            kind: Kind::Pbkdf2 {
                iterations: iterations.clamp(1, ITERATIONS_MAX),
            },
            salt: salt.to_vec(),
            hash: vec![0; HASH_BYTES],
        };
        new.hash = new.derive(password);
        new
    }

    /// Reads `$7$iterations$salt$hash`, `$6$salt$hash` or `$argon2id$v=19$m=…,t=…,p=…$salt$hash`.
    ///
    /// `None` when the text is none of them, or asks for more work than a login may take: 10,000,000
    /// iterations; 1 GiB of memory, 64 passes, 16 lanes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix('$')?.split('$');
        let kind = parts.next()?;
        let kind = match kind {
            "6" => Kind::Sha512,
            "7" => Kind::Pbkdf2 {
                iterations: parts.next()?.parse().ok()?,
            },
            "argon2id" => argon2_kind(parts.next()?, parts.next()?)?,
            _ => return None,
        };
        let (salt, hash) = (parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        Self::from_parts(kind, salt, hash)
    }

    /// Reads the three members `password`, `salt` and `iterations` of Mosquitto 2.0.
    pub(super) fn from_members(password: &str, salt: &str, iterations: u32) -> Option<Self> {
        Self::from_parts(Kind::Pbkdf2 { iterations }, salt, password)
    }

    fn from_parts(kind: Kind, salt: &str, hash: &str) -> Option<Self> {
        let (salt, hash, fits) = match kind {
            Kind::Argon2id {
                memory,
                passes,
                lanes,
            } => (
                STANDARD_NO_PAD.decode(salt).ok()?,
                STANDARD_NO_PAD.decode(hash).ok()?,
                (1..=ARGON2_PASSES_MAX).contains(&passes)
                    && (1..=ARGON2_LANES_MAX).contains(&lanes)
                    && (8 * lanes..=ARGON2_MEMORY_MAX).contains(&memory),
            ),
            Kind::Sha512 => (
                STANDARD.decode(salt).ok()?,
                STANDARD.decode(hash).ok()?,
                true,
            ),
            Kind::Pbkdf2 { iterations } => (
                STANDARD.decode(salt).ok()?,
                STANDARD.decode(hash).ok()?,
                (1..=ITERATIONS_MAX).contains(&iterations),
            ),
        };
        let lengths = match kind {
            Kind::Argon2id { .. } => {
                (8..=64).contains(&salt.len()) && (16..=HASH_BYTES).contains(&hash.len())
            }
            Kind::Sha512 | Kind::Pbkdf2 { .. } => {
                matches!(salt.len(), SALT_BYTES | HASH_BYTES) && hash.len() == HASH_BYTES
            }
        };
        (fits && lengths).then_some(Self { kind, salt, hash })
    }

    /// Whether `password` is the one that was hashed. Takes the same time whatever the answer; slow by
    /// design, up to seconds for the costliest hash.
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> bool {
        bool::from(self.derive(password).ct_eq(&self.hash))
    }

    /// The text form, as in a password file.
    #[must_use]
    pub fn encode(&self) -> String {
        match self.kind {
            Kind::Sha512 => format!(
                "$6${}${}",
                STANDARD.encode(&self.salt),
                STANDARD.encode(&self.hash)
            ),
            Kind::Pbkdf2 { iterations } => format!(
                "$7${iterations}${}${}",
                STANDARD.encode(&self.salt),
                STANDARD.encode(&self.hash)
            ),
            Kind::Argon2id {
                memory,
                passes,
                lanes,
            } => format!(
                "$argon2id$v=19$m={memory},t={passes},p={lanes}${}${}",
                STANDARD_NO_PAD.encode(&self.salt),
                STANDARD_NO_PAD.encode(&self.hash)
            ),
        }
    }

    /// The members `password`, `salt` and `iterations` that Mosquitto 2.0 reads, when it can read this
    /// hash at all.
    pub(super) fn members(&self) -> Option<(String, String, u32)> {
        let Kind::Pbkdf2 { iterations } = self.kind else {
            return None;
        };
        (self.salt.len() == SALT_BYTES).then(|| {
            (
                STANDARD.encode(&self.hash),
                STANDARD.encode(&self.salt),
                iterations,
            )
        })
    }

    /// A hash that costs as much as this one to verify, and that no known password has.
    pub(super) fn decoy(&self) -> Self {
        Self {
            kind: self.kind,
            salt: vec![0x55; self.salt.len()],
            hash: vec![0xAA; self.hash.len()],
        }
    }

    /// The decoy of a state without any password.
    pub(super) fn default_decoy() -> Self {
        Self {
            kind: Kind::Pbkdf2 {
                iterations: ITERATIONS_DEFAULT,
            },
            salt: vec![0x55; SALT_BYTES],
            hash: vec![0xAA; HASH_BYTES],
        }
    }

    fn derive(&self, password: &[u8]) -> Vec<u8> {
        let mut out = vec![0; self.hash.len()];
        match self.kind {
            Kind::Sha512 => {
                use sha2::Digest as _;
                let digest = sha2::Sha512::new()
                    .chain_update(password)
                    .chain_update(&self.salt)
                    .finalize();
                out.clear();
                out.extend_from_slice(&digest);
            }
            Kind::Pbkdf2 { iterations } => {
                pbkdf2::pbkdf2_hmac::<sha2::Sha512>(password, &self.salt, iterations, &mut out);
            }
            Kind::Argon2id {
                memory,
                passes,
                lanes,
            } => {
                let derived = argon2::Params::new(memory, passes, lanes, Some(out.len())).and_then(
                    |params| {
                        argon2::Argon2::new(
                            argon2::Algorithm::Argon2id,
                            argon2::Version::V0x13,
                            params,
                        )
                        .hash_password_into(password, &self.salt, &mut out)
                    },
                );
                if derived.is_err() {
                    // Not the hash of anything: the comparison fails.
                    out.clear();
                }
            }
        }
        out
    }
}

fn argon2_kind(version: &str, params: &str) -> Option<Kind> {
    if version != "v=19" {
        return None;
    }
    let mut params = params.split(',');
    let memory = params.next()?.strip_prefix("m=")?.parse().ok()?;
    let passes = params.next()?.strip_prefix("t=")?.parse().ok()?;
    let lanes = params.next()?.strip_prefix("p=")?.parse().ok()?;
    params.next().is_none().then_some(Kind::Argon2id {
        memory,
        passes,
        lanes,
    })
}

#[cfg(test)]
mod tests;
