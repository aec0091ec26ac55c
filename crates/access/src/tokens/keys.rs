//! Keys that verify tokens: what they are, and the sets that they come in.
//!
//! A key is made for the algorithms that suit it and answers for no other, so that a token cannot choose
//! how a key is used: an RSA key never becomes the secret of an HMAC (RFC 8725 section 3.1).

use core::fmt;

use aws_lc_rs::{hmac, signature};

mod jwk;
mod pem;
mod store;

pub use jwk::parse_jwks;
pub use pem::parse_pem;
pub use store::{
    Availability, Fetch, FetchFault, FetchPurpose, KeyPolicy, KeyStore, NoKeys, UnknownKey, Update,
    max_age,
};

/// A signature algorithm of RFC 7518 section 3.1 and RFC 8037.
///
/// `none` has no place here: it cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// Ed25519, named `EdDSA` (RFC 8037) or `Ed25519` (RFC 9864).
    EdDsa,
    /// HMAC with SHA-256; the verifier could sign as well.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}

impl Algorithm {
    /// All that need no shared secret: what is accepted unless an operator says otherwise.
    pub const ASYMMETRIC: [Self; 10] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// The HMACs.
    pub const SYMMETRIC: [Self; 3] = [Self::Hs256, Self::Hs384, Self::Hs512];

    /// The name in a token's header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    /// The algorithm of this name, which counts upper and lower case; `None` for `none` and all others.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        Self::ASYMMETRIC
            .into_iter()
            .chain(Self::SYMMETRIC)
            .find(|algorithm| algorithm.name() == name)
    }

    /// Whether whoever can verify can sign as well.
    #[must_use]
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }

    /// How a public key of the right kind verifies; `None` for the HMACs.
    fn verification(self) -> Option<&'static dyn signature::VerificationAlgorithm> {
        Some(match self {
            Self::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            Self::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
            Self::Es512 => &signature::ECDSA_P521_SHA512_FIXED,
            Self::EdDsa => &signature::ED25519,
            Self::Hs256 | Self::Hs384 | Self::Hs512 => return None,
        })
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// RSA, 2,048 to 8,192 bits.
    Rsa,
    /// Elliptic curve P-256.
    P256,
    /// Elliptic curve P-384.
    P384,
    /// Elliptic curve P-521.
    P521,
    /// Ed25519.
    Ed25519,
    /// A shared secret.
    Hmac,
}

impl KeyKind {
    /// What such a key can verify.
    const fn algorithms(self) -> &'static [Algorithm] {
        match self {
            Self::Rsa => &[
                Algorithm::Rs256,
                Algorithm::Rs384,
                Algorithm::Rs512,
                Algorithm::Ps256,
                Algorithm::Ps384,
                Algorithm::Ps512,
            ],
            Self::P256 => &[Algorithm::Es256],
            Self::P384 => &[Algorithm::Es384],
            Self::P521 => &[Algorithm::Es512],
            Self::Ed25519 => &[Algorithm::EdDsa],
            Self::Hmac => &Algorithm::SYMMETRIC,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa => "RSA",
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
            Self::Ed25519 => "Ed25519",
            Self::Hmac => "HMAC",
        })
    }
}

/// A key that is ready to verify.
pub struct Key {
    id: Option<Box<str>>,
    kind: KeyKind,
    /// One prepared form for each algorithm that the key answers for.
    forms: Vec<(Algorithm, Form)>,
}

enum Form {
    Public(signature::ParsedPublicKey),
    Secret(Box<hmac::Key>),
}

impl Key {
    /// The `kid` of the key; keys of PEM files have none.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// What the key is.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Whether the key may be used with `algorithm`.
    #[must_use]
    pub fn suits(&self, algorithm: Algorithm) -> bool {
        self.forms.iter().any(|(own, _)| *own == algorithm)
    }

    /// Whether `signature` is this key's over `message`; never with an algorithm that does not suit.
    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.forms
            .iter()
            .find(|(own, _)| *own == algorithm)
            .is_some_and(|(_, form)| match form {
                Form::Public(key) => key.verify_sig(message, signature).is_ok(),
                Form::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            })
    }

    /// Prepares a public key from its SubjectPublicKeyInfo (or, for elliptic curves, its bare point).
    fn public(
        id: Option<&str>,
        kind: KeyKind,
        only: Option<Algorithm>,
        bytes: &[u8],
    ) -> Result<Self, KeyFault> {
        let mut forms = Vec::new();
        for &algorithm in kind.algorithms() {
            if only.is_some_and(|only| only != algorithm) {
                continue;
            }
            let Some(verification) = algorithm.verification() else {
                continue;
            };
            let key = signature::ParsedPublicKey::new(verification, bytes)
                .map_err(|_| KeyFault::Rejected(kind))?;
            forms.push((algorithm, Form::Public(key)));
        }
        Self::with_forms(id, kind, only, forms)
    }

    /// Prepares a shared secret for those HMACs whose output is no longer than it is (RFC 7518 section 3.2).
    fn secret(id: Option<&str>, only: Option<Algorithm>, secret: &[u8]) -> Result<Self, KeyFault> {
        let sizes = [
            (Algorithm::Hs256, hmac::HMAC_SHA256),
            (Algorithm::Hs384, hmac::HMAC_SHA384),
            (Algorithm::Hs512, hmac::HMAC_SHA512),
        ];
        let wanted = |algorithm| only.is_none_or(|only| only == algorithm);
        let forms: Vec<_> = sizes
            .into_iter()
            .filter(|(own, hash)| wanted(*own) && secret.len() >= hash.tag_len())
            .map(|(own, hash)| (own, Form::Secret(Box::new(hmac::Key::new(hash, secret)))))
            .collect();
        if forms.is_empty() && only.is_none_or(Algorithm::is_symmetric) {
            return Err(KeyFault::SecretTooShort(secret.len()));
        }
        Self::with_forms(id, KeyKind::Hmac, only, forms)
    }

    fn with_forms(
        id: Option<&str>,
        kind: KeyKind,
        only: Option<Algorithm>,
        forms: Vec<(Algorithm, Form)>,
    ) -> Result<Self, KeyFault> {
        match only {
            Some(algorithm) if forms.is_empty() => Err(KeyFault::Unsuited { kind, algorithm }),
            _ => Ok(Self {
                id: id.map(Into::into),
                kind,
                forms,
            }),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms = self.forms.iter().map(|(algorithm, _)| algorithm.name());
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("algorithms", &algorithms.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Keys that may have signed a token.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

impl KeySet {
    /// Whether nothing can be verified with it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// All keys.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }

    /// Whether a key has this `kid`.
    #[must_use]
    pub fn has_id(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id() == Some(id))
    }

    /// Puts several sources, such as key files, into one set.
    #[must_use]
    pub fn joined(sets: impl IntoIterator<Item = Self>) -> Self {
        Self {
            keys: sets.into_iter().flat_map(|set| set.keys).collect(),
        }
    }

    /// The keys that a token with this header may have been signed by, at most [`KeySet::TRIED_MAX`].
    ///
    /// A `kid` chooses the keys that have it. Without such a key, those without any `kid` come into
    /// question (keys from PEM files); without a `kid` in the token, all that suit the algorithm.
    pub fn candidates(&self, algorithm: Algorithm, id: Option<&str>) -> impl Iterator<Item = &Key> {
        let named = id.is_some_and(|id| self.has_id(id));
        self.keys
            .iter()
            .filter(move |key| match id {
                Some(_) if named => key.id() == id,
                Some(_) => key.id().is_none(),
                None => true,
            })
            .filter(move |key| key.suits(algorithm))
            .take(Self::TRIED_MAX)
    }

    /// How many keys are tried for one token, so that one without `kid` does not cost a whole set.
    pub const TRIED_MAX: usize = 8;
}

/// A set of keys that was read, and what could not be used of it.
#[derive(Debug, Default)]
pub struct ParsedKeys {
    /// What can be used.
    pub keys: KeySet,
    /// What cannot, for the log.
    pub skipped: Vec<Skipped>,
}

/// A key that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its place, from 0.
    pub index: usize,
    /// Its `kid`.
    pub id: Option<String>,
    /// Why it is not used.
    pub why: KeyFault,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.index)?;
        if let Some(id) = &self.id {
            write!(f, " ({})", super::quoted::Quoted(id))?;
        }
        write!(f, ": {}", self.why)
    }
}

/// Why one key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyFault {
    /// A member is missing or has no usable form.
    Member(&'static str),
    /// A type of key that verifies no token.
    Type(String),
    /// A curve that is not supported.
    Curve(String),
    /// An algorithm that is not supported, or not for signatures.
    Algorithm(String),
    /// The key is of another kind than the algorithm that it is declared for.
    Unsuited {
        /// What the key is.
        kind: KeyKind,
        /// What it should be used with.
        algorithm: Algorithm,
    },
    /// The key is for encryption or for something else.
    Use(String),
    /// The private half is there too: whoever has read the set can sign.
    Private,
    /// A shared secret, where none is allowed.
    Symmetric,
    /// A shared secret shorter than the 32 bytes that HS256 needs.
    SecretTooShort(usize),
    /// An RSA key of fewer than 2,048 or more than 8,192 bits.
    RsaBits(usize),
    /// The numbers are no key of this kind.
    Rejected(KeyKind),
    /// A PEM section that holds no public key.
    Pem(&'static str),
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use super::quoted::Quoted;
        match self {
            Self::Member(name) => write!(f, "\"{name}\" is missing or malformed"),
            Self::Type(name) => write!(f, "keys of type {} are not supported", Quoted(name)),
            Self::Curve(name) => write!(f, "the curve {} is not supported", Quoted(name)),
            Self::Algorithm(name) => write!(f, "the algorithm {} is not supported", Quoted(name)),
            Self::Unsuited { kind, algorithm } => {
                write!(f, "a {kind} key cannot be used with {algorithm}")
            }
            Self::Use(name) => write!(f, "it is for {}, not for signatures", Quoted(name)),
            Self::Private => f.write_str(
                "it holds the private key: whoever reads it can sign; replace it at the provider",
            ),
            Self::Symmetric => f.write_str("a shared secret is not allowed here"),
            Self::SecretTooShort(bytes) => {
                write!(
                    f,
                    "a shared secret of {bytes} bytes; HS256 needs 32 or more"
                )
            }
            Self::RsaBits(bits) => write!(f, "an RSA key of {bits} bits; 2048 to 8192 are allowed"),
            Self::Rejected(kind) => write!(f, "it is no valid {kind} key"),
            Self::Pem(hint) => f.write_str(hint),
        }
    }
}

/// Why a whole set of keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeysFault {
    /// No JSON object, or one that breaks a bound.
    Json(super::JsonFault),
    /// There is no array `keys`.
    NoKeysMember,
    /// More keys than [`KEYS_MAX`].
    TooMany(usize),
    /// Not PEM, or cut off.
    Pem(String),
    /// Longer than a key file may be.
    TooLong(usize),
    /// There is no usable key in it; the reasons of those that are not.
    NoUsableKey(Vec<Skipped>),
}

impl fmt::Display for KeysFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(fault) => write!(f, "not a set of keys: {fault}"),
            Self::NoKeysMember => f.write_str("not a set of keys: no array \"keys\""),
            Self::TooMany(count) => write!(f, "{count} keys, more than {KEYS_MAX}"),
            Self::Pem(why) => write!(f, "not a PEM file: {why}"),
            Self::TooLong(bytes) => write!(f, "{bytes} bytes, more than {KEYS_BYTES_MAX}"),
            Self::NoUsableKey(skipped) => {
                f.write_str("no usable key")?;
                for (index, skipped) in skipped.iter().take(5).enumerate() {
                    write!(f, "{} {skipped}", if index == 0 { ":" } else { ";" })?;
                }
                Ok(())
            }
        }
    }
}

impl core::error::Error for KeysFault {}

/// Whether shared secrets may verify tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symmetric {
    /// They are skipped: what a provider publishes is no secret.
    Refused,
    /// For a key file of the operator's own.
    Allowed,
}

/// Keys in one set; large providers publish fewer than ten.
pub const KEYS_MAX: usize = 64;

/// Bytes of a set of keys or of a key file.
pub const KEYS_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a `kid`.
pub const KEY_ID_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests;
