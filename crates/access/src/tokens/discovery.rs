//! What a provider says of itself: OpenID Connect Discovery 1.0, RFC 8414.

use core::fmt;

use serde_json::{Map, Value};

use super::JsonFault;
use super::json::{Limits, parse_object};
use super::quoted::Quoted;

/// The parts of a discovery document that a broker needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The issuer, which is the one that was asked for.
    pub issuer: String,
    /// Where the keys are.
    pub jwks_uri: String,
    /// Where opaque tokens are asked about (RFC 7662).
    pub introspection_endpoint: Option<String>,
    /// Where clients get tokens.
    pub token_endpoint: Option<String>,
}

/// Why a discovery document cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiscoveryFault {
    /// No JSON object, or one that breaks a bound.
    Json(JsonFault),
    /// A member is missing or has no usable form.
    Member(&'static str),
    /// The document is that of another issuer (OpenID Connect Discovery 1.0 section 4.3).
    Issuer {
        /// The one that was asked for.
        expected: String,
        /// The one that the document names.
        found: String,
    },
    /// An endpoint is at no address of http or https, or at http where the issuer is at https.
    Endpoint {
        /// The member.
        name: &'static str,
        /// Its value.
        url: String,
    },
}

impl fmt::Display for DiscoveryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(fault) => fault.fmt(f),
            Self::Member(name) => write!(f, "\"{name}\" is missing or malformed"),
            Self::Issuer { expected, found } => write!(
                f,
                "it is of the issuer {}, not of {}; they must be equal to the letter",
                Quoted(found),
                Quoted(expected)
            ),
            Self::Endpoint { name, url } => {
                write!(f, "\"{name}\" is at {}, which is not allowed", Quoted(url))
            }
        }
    }
}

impl core::error::Error for DiscoveryFault {}

impl Document {
    /// Where the document of `issuer` is: a path is kept, and the well-known part goes behind it.
    #[must_use]
    pub fn url(issuer: &str) -> String {
        let base = issuer.strip_suffix('/').unwrap_or(issuer);
        format!("{base}/.well-known/openid-configuration")
    }

    /// Reads a document that was fetched for `issuer`.
    ///
    /// # Errors
    /// [`DiscoveryFault`]; above all when the document names another issuer, since its keys would then
    /// vouch for tokens of that one.
    pub fn parse(bytes: &[u8], issuer: &str) -> Result<Self, DiscoveryFault> {
        let limits = Limits {
            bytes_max: DOCUMENT_BYTES_MAX,
            depth_max: 6,
            values_max: 2000,
        };
        let members = parse_object(bytes, limits).map_err(DiscoveryFault::Json)?;
        let found = text(&members, "issuer")?.ok_or(DiscoveryFault::Member("issuer"))?;
        if found != issuer {
            return Err(DiscoveryFault::Issuer {
                expected: issuer.to_owned(),
                found: found.to_owned(),
            });
        }
        let endpoint = |name| endpoint(&members, name, issuer);
        Ok(Self {
            issuer: found.to_owned(),
            jwks_uri: endpoint("jwks_uri")?.ok_or(DiscoveryFault::Member("jwks_uri"))?,
            introspection_endpoint: endpoint("introspection_endpoint")?,
            token_endpoint: endpoint("token_endpoint")?,
        })
    }
}

fn text<'a>(
    members: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'a str>, DiscoveryFault> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() <= URL_BYTES_MAX => Ok(Some(text)),
        Some(_) => Err(DiscoveryFault::Member(name)),
    }
}

/// An endpoint. One at http would let anybody on the way replace the keys of an issuer at https.
fn endpoint(
    members: &Map<String, Value>,
    name: &'static str,
    issuer: &str,
) -> Result<Option<String>, DiscoveryFault> {
    let Some(url) = text(members, name)? else {
        return Ok(None);
    };
    let is_safe = url.starts_with("https://");
    let is_as_safe = url.starts_with("http://") && issuer.starts_with("http://");
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic());
    if (is_safe || is_as_safe) && is_plain {
        Ok(Some(url.to_owned()))
    } else {
        Err(DiscoveryFault::Endpoint {
            name,
            url: url.to_owned(),
        })
    }
}

/// Bytes of a document; those of large providers have 2 to 8 KiB.
pub const DOCUMENT_BYTES_MAX: usize = 128 * 1024;

/// Bytes of one address in it.
const URL_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests;
