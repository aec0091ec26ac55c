//! Why a login by token is refused, in words for the log.

use core::fmt;

use super::JsonFault;
use super::identity::Claim;
use super::keys::{Algorithm, NoKeys};
use super::quoted::Quoted;
use super::rules::RulesFault;

/// Why a token, or the answer about one, lets nobody in.
///
/// The text is for the operator's log. A peer gets "not authorised" and nothing of it: each reason would
/// tell it which forgery comes closer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// No token at all.
    Empty,
    /// Longer than [`Limits::token_bytes_max`](super::verify::Limits::token_bytes_max).
    TooLong {
        /// Its bytes.
        bytes: usize,
        /// What is allowed.
        max: usize,
    },
    /// Not three parts in base64url.
    NotSigned(&'static str),
    /// The header is no JSON object, breaks a bound, or a member of it has a wrong type.
    Header(JsonFault),
    /// An algorithm that is unknown or not allowed; `none` among them.
    Algorithm(String),
    /// The header asks for extensions (`crit`), of which none is supported.
    Critical,
    /// A token for another purpose (RFC 8725 section 3.11).
    Type(Option<String>),
    /// A key that is not among the provider's: it may be newer than what is cached, see
    /// [`KeyStore::unknown_key`](super::keys::KeyStore::unknown_key).
    UnknownKey(String),
    /// No key is of a kind that the algorithm can be used with.
    NoKeyFor {
        /// What the token asks for.
        algorithm: Algorithm,
        /// The key that it names.
        key_id: Option<String>,
    },
    /// The signature is not that of a key.
    Signature,
    /// There are no keys to verify with.
    NoKeys(NoKeys),
    /// The claims are no JSON object, or break a bound.
    Claims(JsonFault),
    /// A claim is not there.
    Missing(Claim),
    /// A claim has a form that it must not have.
    Malformed {
        /// Which.
        claim: Claim,
        /// What it should be.
        expected: &'static str,
    },
    /// The token was good until so many seconds ago, leeway apart.
    Expired {
        /// Seconds.
        secs_ago: u64,
    },
    /// The token is good from so many seconds on; clocks may differ.
    NotYet {
        /// `nbf` or `iat`.
        claim: Claim,
        /// Seconds.
        secs_ahead: u64,
    },
    /// Another issuer's token.
    Issuer(String),
    /// A token for somebody else.
    Audience(String),
    /// The client id is not the one that the token is for.
    ClientId(String),
    /// The user name of CONNECT is not the one of the token.
    UserName(String),
    /// The token is bound to a TLS certificate (RFC 8705) that the client does not have, or to a key in a
    /// way that MQTT cannot show.
    Binding(&'static str),
    /// The rules in the token are wrong.
    Rules(RulesFault),
    /// The provider says that the token is not active (RFC 7662).
    Inactive,
    /// The provider was asked and gave no usable answer.
    NoAnswer(String),
    /// The provider or back end says no, with its reason.
    Denied(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no token"),
            Self::TooLong { bytes, max } => write!(f, "a token of {bytes} bytes, more than {max}"),
            Self::NotSigned(why) => write!(f, "not a signed token: {why}"),
            Self::Header(fault) => write!(f, "the token's header: {fault}"),
            Self::Algorithm(name) => write!(f, "the algorithm {} is not allowed", Quoted(name)),
            Self::Critical => f.write_str("the header's \"crit\" asks for an unknown extension"),
            Self::Type(Some(name)) => {
                write!(f, "a token of type {} is not for logins", Quoted(name))
            }
            Self::Type(None) => f.write_str("the token's header has no \"typ\""),
            Self::UnknownKey(id) => write!(f, "no key has the id {}", Quoted(id)),
            Self::NoKeyFor {
                algorithm,
                key_id: None,
            } => write!(f, "no key can be used with {algorithm}"),
            Self::NoKeyFor {
                algorithm,
                key_id: Some(id),
            } => write!(f, "the key {} cannot be used with {algorithm}", Quoted(id)),
            Self::Signature => f.write_str("the signature is wrong"),
            Self::NoKeys(why) => why.fmt(f),
            Self::Claims(fault) => write!(f, "the token's claims: {fault}"),
            Self::Missing(claim) => write!(f, "the claim {claim} is missing"),
            Self::Malformed { claim, expected } => write!(f, "the claim {claim} is not {expected}"),
            Self::Expired { secs_ago } => write!(f, "the token expired {secs_ago} s ago"),
            Self::NotYet { claim, secs_ahead } => write!(
                f,
                "the claim {claim} is {secs_ahead} s in the future; do the clocks agree?"
            ),
            Self::Issuer(found) => write!(f, "a token of the issuer {}", Quoted(found)),
            Self::Audience(found) => write!(f, "a token for the audience {}", Quoted(found)),
            Self::ClientId(found) => write!(f, "a token for the client id {}", Quoted(found)),
            Self::UserName(found) => write!(f, "a token of the user {}", Quoted(found)),
            Self::Binding(why) => f.write_str(why),
            Self::Rules(fault) => write!(f, "rules: {fault}"),
            Self::Inactive => f.write_str("the provider says that the token is not active"),
            Self::NoAnswer(why) => write!(f, "no usable answer: {}", Quoted(why)),
            Self::Denied(why) => write!(f, "denied: {}", Quoted(why)),
        }
    }
}

impl core::error::Error for Refusal {}
