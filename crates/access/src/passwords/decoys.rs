//! What users look like that do not exist.

use std::collections::BTreeMap;

use crate::scram::ServerError;

use super::PasswordFile;
use super::hashing::Hashing;
use super::scram_keys::ScramKeys;
use super::verifier::Verifier;

/// Kinds, drawn as often as the users of the file have them.
#[derive(Clone, Debug)]
pub(super) struct Decoys<T> {
    /// Each kind, with the number of users up to it.
    kinds: Vec<(u64, T)>,
    users: u64,
}

impl<T> Decoys<T> {
    /// The kinds of all users, or `default` where there is no user.
    pub(super) fn new<K: Ord>(
        kinds: impl Iterator<Item = K>,
        default: K,
        make: impl Fn(K) -> T,
    ) -> Self {
        let mut counts = BTreeMap::<K, u64>::new();
        for kind in kinds {
            *counts.entry(kind).or_default() += 1;
        }
        if counts.is_empty() {
            counts.insert(default, 1);
        }
        let mut users = 0;
        let kinds = counts.into_iter().map(|(kind, count)| {
            users += count;
            (users, make(kind))
        });
        Self {
            kinds: kinds.collect(),
            users,
        }
    }

    /// The kind that `bytes` draw.
    pub(super) fn pick(&self, bytes: &[u8]) -> &T {
        let number = bytes
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes) % self.users);
        let kind = self.kinds.iter().find(|(up_to, _)| number < *up_to);
        match kind.or(self.kinds.last()) {
            Some((_, kind)) => kind,
            None => unreachable!("there is a kind at least"),
        }
    }
}

/// What SCRAM shows of a user: hashing and length of the salt.
type Shown = (Hashing, usize);

/// Salts and iterations for users that have no keys, for either mechanism.
#[derive(Clone, Debug)]
pub(super) struct ScramDecoys {
    sha256: Decoys<Shown>,
    sha512: Decoys<Shown>,
}

impl ScramDecoys {
    pub(super) fn new<'a>(users: impl Iterator<Item = &'a Verifier> + Clone) -> Self {
        let of = |default: Hashing| {
            let users = users
                .clone()
                .filter(|user| is_same_mechanism(user.hashing(), default))
                .map(|user| (user.hashing(), user.salt_bytes()));
            Decoys::new(users, (default, default.salt_len()), |shown| shown)
        };
        Self {
            sha256: of(Hashing::SCRAM_SHA_256),
            sha512: of(Hashing::SCRAM_SHA_512),
        }
    }

    const fn of(&self, mechanism: Hashing) -> &Decoys<Shown> {
        match mechanism {
            Hashing::ScramSha256 { .. } => &self.sha256,
            _ => &self.sha512,
        }
    }
}

fn is_same_mechanism(one: Hashing, other: Hashing) -> bool {
    std::mem::discriminant(&one) == std::mem::discriminant(&other)
}

/// What a SCRAM server says about a user, and knows of it.
pub(crate) struct ScramUser {
    pub(crate) salt: Vec<u8>,
    pub(crate) iterations: u32,
    pub(crate) keys: ScramKeys,
    /// Why the login will fail.
    pub(crate) error: Option<ServerError>,
}

impl PasswordFile {
    /// The user for a mechanism, or one that looks like it: always the same for a name, and told from a real
    /// one by nobody who has not the key.
    pub(crate) fn scram(&self, user_name: &str, mechanism: Hashing) -> ScramUser {
        // Made for everybody, so that both take as long.
        let (hashing, length) = *self
            .scram
            .of(mechanism)
            .pick(&self.key.of("scram kind", user_name));
        let blocks = (0_u32..).map(|block| self.key.of(&format!("scram salt {block}"), user_name));
        let fake = ScramUser {
            salt: blocks.flatten().take(length).collect(),
            iterations: iterations(hashing),
            keys: ScramKeys::decoy(mechanism),
            error: Some(ServerError::UnknownUser),
        };
        let Some(verifier) = self.verifier(user_name) else {
            return fake;
        };
        match verifier.scram() {
            Some((salt, keys)) if is_same_mechanism(verifier.hashing(), mechanism) => ScramUser {
                salt: salt.to_vec(),
                iterations: iterations(verifier.hashing()),
                keys: keys.clone(),
                error: None,
            },
            _ => ScramUser {
                error: Some(ServerError::NoKeys),
                ..fake
            },
        }
    }
}

const fn iterations(hashing: Hashing) -> u32 {
    match hashing {
        Hashing::ScramSha256 { iterations }
        | Hashing::ScramSha512 { iterations }
        | Hashing::Sha512Pbkdf2 { iterations } => iterations,
        Hashing::Sha512 | Hashing::Argon2id { .. } => 0,
    }
}
