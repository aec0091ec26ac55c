//! Signed tokens: JWT (RFC 7519) as compact JWS (RFC 7515), judged as RFC 8725 and RFC 9068 advise.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::identity::{Claim, Claims};
use super::json::{self, parse_object};
use super::keys::{Algorithm, KEY_ID_BYTES_MAX, KeySet};
use super::{JsonFault, Refusal, UnixSecs};

/// What a token must be to let somebody in.
#[derive(Clone, Debug)]
pub struct Checks {
    /// Algorithms that are accepted.
    pub algorithms: Vec<Algorithm>,
    /// The issuer that `iss` must name; `None` accepts any that the keys vouch for.
    pub issuer: Option<String>,
    /// Whom the token must be for.
    pub audience: Audience,
    /// The types that the header may name.
    pub types: Types,
    /// Whether a token must say when it ends.
    pub expiry: Expiry,
    /// Seconds by which the clocks of provider and broker may differ.
    pub leeway_secs: u64,
    /// What a token may cost.
    pub limits: Limits,
}

impl Checks {
    /// Any issuer, asymmetric algorithms, an end required, one minute of leeway.
    #[must_use]
    pub fn new(audience: Audience) -> Self {
        Self {
            algorithms: Algorithm::ASYMMETRIC.to_vec(),
            issuer: None,
            audience,
            types: Types::Usual,
            expiry: Expiry::Required,
            leeway_secs: 60,
            limits: Limits::default(),
        }
    }
}

/// Whom a token must be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// One of these must be in `aud`.
    OneOf(Vec<String>),
    /// Anybody: a token for another service of the same provider gets in too.
    Any,
}

/// What `typ` in a header may be, upper and lower case alike and `application/` apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Types {
    /// `JWT`, `at+jwt`, or none.
    Usual,
    /// One of these, and not none; `at+jwt` is what RFC 9068 gives access tokens.
    OneOf(Vec<String>),
}

/// Whether a token must say when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// One without `exp` is refused.
    Required,
    /// One without `exp` is good as long as its key is.
    Optional,
}

/// What a token may cost before and after its signature is known to be good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole token.
    pub token_bytes_max: usize,
    /// Bytes of the decoded header, which is read before the signature is verified.
    pub header_bytes_max: usize,
    /// Objects and arrays inside one another, in the claims.
    pub depth_max: usize,
    /// Values in the claims.
    pub values_max: usize,
}

impl Default for Limits {
    /// 16 KiB in all, 2 KiB of header, 8 levels, 4,096 values.
    fn default() -> Self {
        Self {
            token_bytes_max: 16 * 1024,
            header_bytes_max: 2 * 1024,
            depth_max: 8,
            values_max: 4096,
        }
    }
}

/// Whether `token` has the shape of a signed token; others may be opaque, for introspection.
#[must_use]
pub fn looks_signed(token: &str) -> bool {
    // Every header begins with `{"`, or with white space that nobody writes.
    token.starts_with("eyJ") && token.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// The issuer that a token names, before anything is verified: only to choose whose keys to try.
#[must_use]
pub fn unverified_issuer(token: &str, limits: &Limits) -> Option<String> {
    let parts = Parts::split(token, limits).ok()?;
    let claims = parse_object(&decode(parts.claims)?, limits.of_claims()).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

impl Checks {
    /// Verifies a token: bounds, header, algorithm, key, signature, and only then what it claims.
    ///
    /// # Errors
    /// [`Refusal`]. After [`Refusal::UnknownKey`] ask
    /// [`KeyStore::unknown_key`](super::keys::KeyStore::unknown_key) whether to try again.
    pub fn verify(&self, token: &str, keys: &KeySet, now: UnixSecs) -> Result<Claims, Refusal> {
        let parts = Parts::split(token, &self.limits)?;
        let header = Header::parse(parts.header, &self.limits)?;
        let algorithm = header.algorithm(&self.algorithms)?;
        self.check_type(header.text("typ")?)?;
        let signature =
            decode(parts.signature).ok_or(Refusal::NotSigned("the third part is not base64url"))?;
        check_signature(algorithm, header.key_id()?, parts.signed, &signature, keys)?;
        let claims =
            decode(parts.claims).ok_or(Refusal::NotSigned("the second part is not base64url"))?;
        let claims = parse_object(&claims, self.limits.of_claims()).map_err(Refusal::Claims)?;
        let claims = Claims::from(claims);
        self.check_claims(&claims, now)?;
        Ok(claims)
    }

    /// Judges claims whose origin is certain: those of a verified token or of an introspection answer.
    ///
    /// # Errors
    /// [`Refusal`] for a token that is over or not yet good, of another issuer, or for somebody else.
    pub fn check_claims(&self, claims: &Claims, now: UnixSecs) -> Result<(), Refusal> {
        match claims.time(Claim::EXP)? {
            Some(end) if now >= end.saturating_add(self.leeway_secs) => {
                return Err(Refusal::Expired {
                    secs_ago: now.0.saturating_sub(end.0),
                });
            }
            None if self.expiry == Expiry::Required => return Err(Refusal::Missing(Claim::EXP)),
            _ => {}
        }
        for claim in [Claim::NBF, Claim::IAT] {
            if let Some(begin) = claims.time(claim.clone())?
                && begin > now.saturating_add(self.leeway_secs)
            {
                return Err(Refusal::NotYet {
                    claim,
                    secs_ahead: begin.0.saturating_sub(now.0),
                });
            }
        }
        self.check_issuer(claims)?;
        self.check_audience(claims)
    }

    fn check_issuer(&self, claims: &Claims) -> Result<(), Refusal> {
        let Some(expected) = &self.issuer else {
            return Ok(());
        };
        match claims.text(&Claim::ISS)? {
            None => Err(Refusal::Missing(Claim::ISS)),
            Some(found) if found == expected => Ok(()),
            Some(found) => Err(Refusal::Issuer(found.to_owned())),
        }
    }

    fn check_audience(&self, claims: &Claims) -> Result<(), Refusal> {
        let Audience::OneOf(expected) = &self.audience else {
            return Ok(());
        };
        let found = claims.texts(&Claim::AUD)?;
        if found.is_empty() {
            return Err(Refusal::Missing(Claim::AUD));
        }
        if found
            .iter()
            .any(|found| expected.iter().any(|e| e == found))
        {
            Ok(())
        } else {
            Err(Refusal::Audience(found.join(" ")))
        }
    }

    fn check_type(&self, found: Option<&str>) -> Result<(), Refusal> {
        let plain = found.map(|name| match name.split_at_checked("application/".len()) {
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
            _ => name,
        });
        let is = |expected: &str| plain.is_some_and(|name| name.eq_ignore_ascii_case(expected));
        let fits = match &self.types {
            Types::Usual => plain.is_none() || is("JWT") || is("at+jwt"),
            Types::OneOf(expected) => expected.iter().any(|expected| is(expected)),
        };
        if fits {
            Ok(())
        } else {
            Err(Refusal::Type(found.map(str::to_owned)))
        }
    }
}

impl Limits {
    const fn of_claims(&self) -> json::Limits {
        json::Limits {
            bytes_max: self.token_bytes_max,
            depth_max: self.depth_max,
            values_max: self.values_max,
        }
    }
}

/// The parts of a token as they stand in it.
struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
    /// What is signed: header, dot, claims.
    signed: &'a [u8],
}

impl<'a> Parts<'a> {
    fn split(token: &'a str, limits: &Limits) -> Result<Self, Refusal> {
        if token.is_empty() {
            return Err(Refusal::Empty);
        }
        if token.len() > limits.token_bytes_max {
            return Err(Refusal::TooLong {
                bytes: token.len(),
                max: limits.token_bytes_max,
            });
        }
        let not_three = Refusal::NotSigned("it has not three parts");
        let Some((signed, signature)) = token.rsplit_once('.') else {
            return Err(not_three);
        };
        let Some((header, claims)) = signed.split_once('.') else {
            return Err(not_three);
        };
        if claims.contains('.') {
            let is_encrypted = token.bytes().filter(|byte| *byte == b'.').count() == 4;
            return Err(if is_encrypted {
                Refusal::NotSigned("it is encrypted (JWE)")
            } else {
                not_three
            });
        }
        Ok(Self {
            header,
            claims,
            signature,
            signed: signed.as_bytes(),
        })
    }
}

/// The protected header. Keys and addresses that it may carry (`jwk`, `jku`, `x5c`, `x5u`) are never looked
/// at: whoever forges a token would bring his own.
struct Header(Map<String, Value>);

impl Header {
    fn parse(encoded: &str, limits: &Limits) -> Result<Self, Refusal> {
        // Four characters for three bytes; so nothing long is decoded for nothing.
        if encoded.len() / 4 > limits.header_bytes_max / 3 {
            let message = format!("more than {} bytes", limits.header_bytes_max);
            return Err(Refusal::Header(JsonFault::new(message)));
        }
        let bytes = decode(encoded).ok_or(Refusal::NotSigned("the first part is not base64url"))?;
        let limits = json::Limits {
            bytes_max: limits.header_bytes_max,
            depth_max: 4,
            values_max: 64,
        };
        let header = Self(parse_object(&bytes, limits).map_err(Refusal::Header)?);
        if header.0.contains_key("crit") {
            return Err(Refusal::Critical);
        }
        Ok(header)
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Refusal> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => {
                let message = format!("\"{name}\" is {}, not a string", json::kind(other));
                Err(Refusal::Header(JsonFault::new(message)))
            }
        }
    }

    fn algorithm(&self, allowed: &[Algorithm]) -> Result<Algorithm, Refusal> {
        let name = self.text("alg")?.unwrap_or_default();
        Algorithm::from_name(name)
            .filter(|algorithm| allowed.contains(algorithm))
            .ok_or_else(|| Refusal::Algorithm(name.to_owned()))
    }

    fn key_id(&self) -> Result<Option<&str>, Refusal> {
        let id = self.text("kid")?;
        if id.is_some_and(|id| id.len() > KEY_ID_BYTES_MAX) {
            let message = format!("a \"kid\" of more than {KEY_ID_BYTES_MAX} bytes");
            return Err(Refusal::Header(JsonFault::new(message)));
        }
        Ok(id)
    }
}

fn check_signature(
    algorithm: Algorithm,
    key_id: Option<&str>,
    signed: &[u8],
    signature: &[u8],
    keys: &KeySet,
) -> Result<(), Refusal> {
    let mut tried = false;
    for key in keys.candidates(algorithm, key_id) {
        if key.verifies(algorithm, signed, signature) {
            return Ok(());
        }
        tried = true;
    }
    Err(match key_id {
        Some(id) if !keys.has_id(id) => Refusal::UnknownKey(id.to_owned()),
        _ if tried => Refusal::Signature,
        _ => Refusal::NoKeyFor {
            algorithm,
            key_id: key_id.map(str::to_owned),
        },
    })
}

/// Base64url without padding and without bits that decode to nothing, so that no two texts are one token.
fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests;
