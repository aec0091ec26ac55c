//! The ways to hash a password, and what each costs.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use pbkdf2::pbkdf2_hmac;
use sha2::{Digest, Sha256, Sha512};

/// Most iterations of PBKDF2 that are accepted: some seconds of a core.
pub const ITERATIONS_MAX: u32 = 10_000_000;

/// Most memory for one Argon2 hash, in KiB: 1 GiB.
pub const MEMORY_KIB_MAX: u32 = 1 << 20;

/// Most passes of Argon2 over its memory.
pub const PASSES_MAX: u32 = 1_000;

/// How a password is hashed.
///
/// The defaults, see [`Hashing::ARGON2ID`] and [`Hashing::SHA512_PBKDF2`], are those of mosquitto_passwd
/// 2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hashing {
    /// `$6$`: SHA-512 of password and salt, once. Mosquitto 1.6 and before. Whoever gets the file can try
    /// millions of passwords a second.
    Sha512,
    /// `$7$`: PBKDF2 with HMAC-SHA-512. Mosquitto 2.0.
    Sha512Pbkdf2 {
        /// From 1 to [`ITERATIONS_MAX`].
        iterations: u32,
    },
    /// `$argon2id$`: Argon2id version 0x13 (RFC 9106). Mosquitto 2.1 where it was built with it.
    Argon2id {
        /// Memory in KiB, from 8 for each lane to [`MEMORY_KIB_MAX`].
        memory_kib: u32,
        /// Passes over the memory, from 1 to [`PASSES_MAX`].
        passes: u32,
        /// From 1 to 255; lanes are computed one after the other.
        lanes: u32,
    },
    /// `$scram-sha-256$`, Midge's own: the keys that SCRAM-SHA-256 stores (RFC 5802, RFC 7677).
    ScramSha256 {
        /// From 1 to [`ITERATIONS_MAX`]; RFC 7677 asks for 4096 at least.
        iterations: u32,
    },
    /// `$scram-sha-512$`, Midge's own: the keys that SCRAM-SHA-512 stores.
    ScramSha512 {
        /// From 1 to [`ITERATIONS_MAX`].
        iterations: u32,
    },
}

/// What one verification takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Time of a core, in microseconds; an estimate that is right to a factor of three on ordinary machines
    /// and for passwords of ordinary length. The longest password adds some 200.
    pub micros: u64,
    /// Memory that is taken while it runs.
    pub memory_bytes: u64,
}

/// Why there is no hash with such settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashingError(pub(crate) String);

impl fmt::Display for HashingError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for HashingError {}

impl Hashing {
    /// What mosquitto_passwd 2.1 uses unless it is told otherwise: 46 MiB, one pass.
    pub const ARGON2ID: Self = Self::Argon2id {
        memory_kib: 47_104,
        passes: 1,
        lanes: 1,
    };

    /// PBKDF2 with the 1,000 iterations of mosquitto_passwd 2.1.
    pub const SHA512_PBKDF2: Self = Self::Sha512Pbkdf2 { iterations: 1_000 };

    /// SCRAM-SHA-256 with the iterations of RFC 7677.
    pub const SCRAM_SHA_256: Self = Self::ScramSha256 { iterations: 4_096 };

    /// SCRAM-SHA-512 with as many.
    pub const SCRAM_SHA_512: Self = Self::ScramSha512 { iterations: 4_096 };

    /// Its name on the command line of mosquitto_passwd.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha512 => "sha512",
            Self::Sha512Pbkdf2 { .. } => "sha512-pbkdf2",
            Self::Argon2id { .. } => "argon2id",
            Self::ScramSha256 { .. } => "scram-sha-256",
            Self::ScramSha512 { .. } => "scram-sha-512",
        }
    }

    /// The hashing of that name with its default settings.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Sha512,
            Self::SHA512_PBKDF2,
            Self::ARGON2ID,
            Self::SCRAM_SHA_256,
            Self::SCRAM_SHA_512,
        ]
        .into_iter()
        .find(|hashing| hashing.name() == name)
    }

    /// The same with `iterations`; `None` for SHA-512 and Argon2, which have none.
    #[must_use]
    pub const fn with_iterations(self, iterations: u32) -> Option<Self> {
        match self {
            Self::Sha512 | Self::Argon2id { .. } => None,
            Self::Sha512Pbkdf2 { .. } => Some(Self::Sha512Pbkdf2 { iterations }),
            Self::ScramSha256 { .. } => Some(Self::ScramSha256 { iterations }),
            Self::ScramSha512 { .. } => Some(Self::ScramSha512 { iterations }),
        }
    }

    /// How many bytes of salt a new hash should have: as many as mosquitto_passwd 2.0 takes, and reads.
    #[must_use]
    pub const fn salt_len(self) -> usize {
        match self {
            Self::Sha512 | Self::Sha512Pbkdf2 { .. } => 12,
            Self::Argon2id { .. } | Self::ScramSha256 { .. } | Self::ScramSha512 { .. } => 16,
        }
    }

    /// What one verification takes.
    #[must_use]
    pub fn cost(self) -> Cost {
        let (micros, memory_kib) = match self {
            Self::Sha512 => (1, 0),
            Self::Sha512Pbkdf2 { iterations } | Self::ScramSha512 { iterations } => {
                (u64::from(iterations), 0)
            }
            Self::ScramSha256 { iterations } => (u64::from(iterations).div_ceil(2), 0),
            Self::Argon2id {
                memory_kib, passes, ..
            } => (u64::from(memory_kib) * u64::from(passes), memory_kib),
        };
        Cost {
            micros,
            memory_bytes: u64::from(memory_kib) << 10,
        }
    }

    /// Checks the settings against their limits.
    pub(crate) fn check(self) -> Result<(), HashingError> {
        let problem = match self {
            Self::Sha512 => return Ok(()),
            Self::Sha512Pbkdf2 { iterations }
            | Self::ScramSha256 { iterations }
            | Self::ScramSha512 { iterations } => {
                if (1..=ITERATIONS_MAX).contains(&iterations) {
                    return Ok(());
                }
                format!("iterations are from 1 to {ITERATIONS_MAX}, not {iterations}")
            }
            Self::Argon2id {
                memory_kib,
                passes,
                lanes,
            } => {
                if !(1..=255).contains(&lanes) {
                    format!("p is from 1 to 255, not {lanes}")
                } else if !(8 * lanes..=MEMORY_KIB_MAX).contains(&memory_kib) {
                    format!(
                        "m is from {} to {MEMORY_KIB_MAX}, not {memory_kib}",
                        8 * lanes
                    )
                } else if !(1..=PASSES_MAX).contains(&passes) {
                    format!("t is from 1 to {PASSES_MAX}, not {passes}")
                } else {
                    return Ok(());
                }
            }
        };
        Err(HashingError(problem))
    }

    /// Fills `out` with the hash; for SCRAM with the salted password.
    pub(crate) fn derive(
        self,
        password: &[u8],
        salt: &[u8],
        out: &mut [u8],
    ) -> Result<(), HashingError> {
        match self {
            Self::Sha512 => {
                let hash = Sha512::new()
                    .chain_update(password)
                    .chain_update(salt)
                    .finalize();
                let fill = out.iter_mut().zip(hash);
                fill.for_each(|(out, byte)| *out = byte);
            }
            Self::Sha512Pbkdf2 { iterations } | Self::ScramSha512 { iterations } => {
                pbkdf2_hmac::<Sha512>(password, salt, iterations, out);
            }
            Self::ScramSha256 { iterations } => {
                pbkdf2_hmac::<Sha256>(password, salt, iterations, out);
            }
            Self::Argon2id {
                memory_kib,
                passes,
                lanes,
            } => {
                let wrong = |error: argon2::Error| HashingError(error.to_string());
                let params =
                    Params::new(memory_kib, passes, lanes, Some(out.len())).map_err(wrong)?;
                Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                    .hash_password_into(password, salt, out)
                    .map_err(wrong)?;
            }
        }
        Ok(())
    }
}
