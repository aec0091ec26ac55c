//! Sets of keys as providers publish them (RFC 7517, RFC 7518 section 6, RFC 8037).

use aws_lc_rs::signature::{self, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::{
    Algorithm, KEY_ID_BYTES_MAX, KEYS_BYTES_MAX, KEYS_MAX, Key, KeyFault, KeyKind, KeySet,
    KeysFault, ParsedKeys, Skipped, Symmetric,
};
use crate::tokens::json::{Limits, parse_object};

/// Reads a JWK set. Keys that cannot be used are skipped, each with its reason, as RFC 7517 section 5 asks.
///
/// # Errors
/// [`KeysFault`] if it is no set, breaks a bound, or has no usable key at all.
pub fn parse_jwks(bytes: &[u8], symmetric: Symmetric) -> Result<ParsedKeys, KeysFault> {
    let limits = Limits {
        bytes_max: KEYS_BYTES_MAX,
        depth_max: 6,
        values_max: 64 * KEYS_MAX,
    };
    let map = parse_object(bytes, limits).map_err(KeysFault::Json)?;
    let Some(Value::Array(items)) = map.get("keys") else {
        return Err(KeysFault::NoKeysMember);
    };
    if items.len() > KEYS_MAX {
        return Err(KeysFault::TooMany(items.len()));
    }
    let mut keys = Vec::new();
    let mut skipped = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match key(item, symmetric) {
            Ok(key) => keys.push(key),
            Err(why) => skipped.push(Skipped {
                index,
                id: text(item, "kid").map(str::to_owned),
                why,
            }),
        }
    }
    if keys.is_empty() {
        return Err(KeysFault::NoUsableKey(skipped));
    }
    Ok(ParsedKeys {
        keys: KeySet { keys },
        skipped,
    })
}

fn key(item: &Value, symmetric: Symmetric) -> Result<Key, KeyFault> {
    let Value::Object(members) = item else {
        return Err(KeyFault::Member("kty"));
    };
    let id = optional_text(members, "kid")?;
    if id.is_some_and(|id| id.len() > KEY_ID_BYTES_MAX) {
        return Err(KeyFault::Member("kid"));
    }
    for_signatures(members)?;
    let only = match optional_text(members, "alg")? {
        None => None,
        Some(name) => {
            let unknown = || KeyFault::Algorithm(name.to_owned());
            Some(Algorithm::from_name(name).ok_or_else(unknown)?)
        }
    };
    let kind = optional_text(members, "kty")?.ok_or(KeyFault::Member("kty"))?;
    if kind == "oct" {
        return match symmetric {
            Symmetric::Refused => Err(KeyFault::Symmetric),
            Symmetric::Allowed => Key::secret(id, only, &bytes(members, "k")?),
        };
    }
    if members.contains_key("d") {
        return Err(KeyFault::Private);
    }
    match kind {
        "RSA" => rsa(members, id, only),
        "EC" => elliptic(members, id, only),
        "OKP" => edwards(members, id, only),
        other => Err(KeyFault::Type(other.to_owned())),
    }
}

/// `use` and `key_ops`, where they are given, must allow signatures to be verified.
fn for_signatures(members: &Map<String, Value>) -> Result<(), KeyFault> {
    match optional_text(members, "use")? {
        None | Some("sig") => {}
        Some(other) => return Err(KeyFault::Use(other.to_owned())),
    }
    match members.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations)) => {
            if operations.iter().any(|operation| operation == "verify") {
                Ok(())
            } else {
                Err(KeyFault::Use("other operations".to_owned()))
            }
        }
        Some(_) => Err(KeyFault::Member("key_ops")),
    }
}

fn rsa(
    members: &Map<String, Value>,
    id: Option<&str>,
    only: Option<Algorithm>,
) -> Result<Key, KeyFault> {
    let (n, e) = (bytes(members, "n")?, bytes(members, "e")?);
    // Some providers put a zero in front, as ASN.1 does.
    let n = n.strip_prefix(&[0]).unwrap_or(&n);
    let first = n.first().copied().ok_or(KeyFault::Member("n"))?;
    let bits = (n.len() * 8).saturating_sub(first.leading_zeros() as usize);
    if !(2048..=8192).contains(&bits) {
        return Err(KeyFault::RsaBits(bits));
    }
    // An exponent costs time at each token; what is in use has at most 17 bits.
    if e.len() > 4 {
        return Err(KeyFault::Member("e"));
    }
    let components = RsaPublicKeyComponents { n, e: &e[..] };
    let parsed = components
        .to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256)
        .map_err(|_| KeyFault::Rejected(KeyKind::Rsa))?;
    Key::public(id, KeyKind::Rsa, only, parsed.as_ref())
}

fn elliptic(
    members: &Map<String, Value>,
    id: Option<&str>,
    only: Option<Algorithm>,
) -> Result<Key, KeyFault> {
    let (kind, size) = match optional_text(members, "crv")? {
        Some("P-256") => (KeyKind::P256, 32),
        Some("P-384") => (KeyKind::P384, 48),
        Some("P-521") => (KeyKind::P521, 66),
        Some(other) => return Err(KeyFault::Curve(other.to_owned())),
        None => return Err(KeyFault::Member("crv")),
    };
    let mut point = vec![0x04];
    for name in ["x", "y"] {
        let coordinate = bytes(members, name)?;
        // Full length, zeros included (RFC 7518 section 6.2.1.2).
        if coordinate.len() != size {
            return Err(KeyFault::Member(name));
        }
        point.extend_from_slice(&coordinate);
    }
    Key::public(id, kind, only, &point)
}

fn edwards(
    members: &Map<String, Value>,
    id: Option<&str>,
    only: Option<Algorithm>,
) -> Result<Key, KeyFault> {
    match optional_text(members, "crv")? {
        Some("Ed25519") => {}
        Some(other) => return Err(KeyFault::Curve(other.to_owned())),
        None => return Err(KeyFault::Member("crv")),
    }
    let point = bytes(members, "x")?;
    if point.len() != 32 {
        return Err(KeyFault::Member("x"));
    }
    Key::public(id, KeyKind::Ed25519, only, &point)
}

fn text<'a>(item: &'a Value, name: &str) -> Option<&'a str> {
    item.get(name).and_then(Value::as_str)
}

fn optional_text<'a>(
    members: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'a str>, KeyFault> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(KeyFault::Member(name)),
    }
}

fn bytes(members: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, KeyFault> {
    members
        .get(name)
        .and_then(Value::as_str)
        .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
        .filter(|bytes| !bytes.is_empty())
        .ok_or(KeyFault::Member(name))
}
