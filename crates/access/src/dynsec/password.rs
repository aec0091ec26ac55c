//! Passwords in the file: hashes as password files have them, and the three members of Mosquitto 2.0.

use crate::passwords::{Hashing, HashingError, ITERATIONS_MAX, Verifier};

/// The salt's length that Mosquitto 2.0 insists on, in base64; 2.1 takes it as well as its own.
const SALT_BASE64_BYTES: usize = 16;

/// Hashes a new password in the way that Mosquitto 2.0 and 2.1 both read: PBKDF2 with SHA-512. Slow by
/// design.
pub(super) fn new_verifier(password: &str, salt: [u8; 12], iterations: u32) -> Verifier {
    let hashing = Hashing::Sha512Pbkdf2 {
        iterations: iterations.clamp(1, ITERATIONS_MAX),
    };
    #[expect(clippy::expect_used, reason = "the limits are kept above")]
    Verifier::create(hashing, password.as_bytes(), &salt)
        .expect("iterations and salt within limits")
}

/// The hash of the members `password`, `salt` and `iterations`.
pub(super) fn from_members(
    password: &str,
    salt: &str,
    iterations: i32,
) -> Result<Verifier, HashingError> {
    // A `$` in one of them makes a part too many.
    Verifier::parse(&format!("$7${iterations}${salt}${password}"))
}

/// The members `password`, `salt` and `iterations`, when Mosquitto 2.0 can read this hash at all.
pub(super) fn members(verifier: &Verifier) -> Option<(String, String, u32)> {
    let Hashing::Sha512Pbkdf2 { iterations } = verifier.hashing() else {
        return None;
    };
    let text = verifier.to_string();
    let mut parts = text.split('$').skip(3);
    let (salt, hash) = (parts.next()?, parts.next()?);
    (salt.len() == SALT_BASE64_BYTES).then(|| (hash.to_owned(), salt.to_owned(), iterations))
}

#[cfg(test)]
mod tests;
