//! Logins by somebody else's word: OAuth 2 and OpenID Connect tokens, and an HTTP back end.
//!
//! | a login with | is decided by |
//! |---|---|
//! | a signed token (JWT) | [`verify::Checks`] over the keys of a [`keys::KeyStore`] |
//! | an opaque token | [`introspection`] (RFC 7662) |
//! | enhanced authentication `OAUTHBEARER` | [`oauthbearer`], which unpacks the token |
//! | user name and password, asked elsewhere | [`http_login`] |
//!
//! What comes out is an [`identity::Identity`] with [`rules::Rules`], or a [`Refusal`] whose text is for the
//! log. The peer is told "not authorised" and no more.
//!
//! Nothing here fetches. What has to be fetched is said by value ([`keys::Fetch`], an introspection
//! request), and the answer is handed in. Two clocks are arguments: [`UnixSecs`] judges what a token says
//! of itself, a [`Duration`](core::time::Duration) since the start of the process times caches and retries,
//! so that a clock that is set does neither empty a cache nor keep it for ever.

pub(crate) mod cache;
pub mod discovery;
pub mod http_login;
pub mod identity;
pub mod introspection;
mod json;
pub mod keys;
pub mod oauthbearer;
mod post;
mod quoted;
mod refusal;
pub mod rules;
pub mod verify;

pub use cache::HashKey;
pub use json::JsonFault;
pub use post::{ClientAuthentication, Post};
pub use refusal::Refusal;

/// Seconds since 1970-01-01T00:00:00Z, as tokens count (RFC 7519 section 2, NumericDate).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSecs(pub u64);

impl UnixSecs {
    /// What is `secs` later; the end of time where that is beyond it.
    #[must_use]
    pub const fn saturating_add(self, secs: u64) -> Self {
        Self(self.0.saturating_add(secs))
    }
}

#[cfg(test)]
mod testing;
