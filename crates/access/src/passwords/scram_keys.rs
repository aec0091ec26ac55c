//! The two keys that a SCRAM server keeps instead of a password (RFC 5802, section 3).

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use super::hashing::{Hashing, HashingError};

/// StoredKey and ServerKey, 32 bytes each for SCRAM-SHA-256 and 64 for SCRAM-SHA-512.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ScramKeys {
    stored: Box<[u8]>,
    server: Box<[u8]>,
}

impl ScramKeys {
    /// The keys of a password.
    pub(crate) fn derive(
        hashing: Hashing,
        password: &[u8],
        salt: &[u8],
    ) -> Result<Self, HashingError> {
        let mut salted = vec![0; key_bytes(hashing)];
        hashing.derive(password, salt, &mut salted)?;
        let client = hmac(hashing, &salted, b"Client Key");
        Ok(Self {
            stored: hash(hashing, &client),
            server: hmac(hashing, &salted, b"Server Key"),
        })
    }

    /// Keys that were made elsewhere.
    pub(crate) fn from_parts(
        hashing: Hashing,
        stored: &[u8],
        server: &[u8],
    ) -> Result<Self, HashingError> {
        let length = key_bytes(hashing);
        if stored.len() != length || server.len() != length {
            let found = (stored.len(), server.len());
            return Err(HashingError(format!(
                "the keys have {length} bytes each, not {} and {}",
                found.0, found.1
            )));
        }
        Ok(Self {
            stored: stored.into(),
            server: server.into(),
        })
    }

    /// Keys that no password has.
    pub(crate) fn decoy(hashing: Hashing) -> Self {
        let zeros: Box<[u8]> = vec![0; key_bytes(hashing)].into();
        Self {
            stored: zeros.clone(),
            server: zeros,
        }
    }

    /// Compares in a time that does not depend on where they differ.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        bool::from(self.stored.ct_eq(&other.stored))
    }

    pub(crate) fn stored(&self) -> &[u8] {
        &self.stored
    }

    pub(crate) fn server(&self) -> &[u8] {
        &self.server
    }
}

/// How long the keys of `hashing` are.
pub(crate) const fn key_bytes(hashing: Hashing) -> usize {
    match hashing {
        Hashing::ScramSha256 { .. } => 32,
        _ => 64,
    }
}

/// The hash function of `hashing`.
pub(crate) fn hash(hashing: Hashing, bytes: &[u8]) -> Box<[u8]> {
    match hashing {
        Hashing::ScramSha256 { .. } => Sha256::digest(bytes).as_slice().into(),
        _ => Sha512::digest(bytes).as_slice().into(),
    }
}

/// HMAC with the hash function of `hashing`.
pub(crate) fn hmac(hashing: Hashing, key: &[u8], bytes: &[u8]) -> Box<[u8]> {
    macro_rules! with {
        ($hash:ty) => {
            match Hmac::<$hash>::new_from_slice(key) {
                Ok(mac) => mac
                    .chain_update(bytes)
                    .finalize()
                    .into_bytes()
                    .as_slice()
                    .into(),
                Err(_) => unreachable!("HMAC takes keys of any length"),
            }
        };
    }
    match hashing {
        Hashing::ScramSha256 { .. } => with!(Sha256),
        _ => with!(Sha512),
    }
}
