//! From claims to a client: who it is, for how long, and which rules come with it.

use core::fmt;
use std::borrow::Cow;

use aws_lc_rs::constant_time;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::rules::{Origin, Rules};
use super::{Refusal, UnixSecs};
use crate::Client;

/// Names one claim by its path: `sub`, `realm_access.roles`, `https://example.com/groups`.
///
/// A member whose name is the whole rest of the path is taken first; otherwise the path is cut at its first
/// dot. A dot in the name of a member above the last is written `\.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim(Cow<'static, str>);

impl Claim {
    /// When the token ends.
    pub const EXP: Self = Self::known("exp");
    /// From when on the token is good.
    pub const NBF: Self = Self::known("nbf");
    /// When the token was made.
    pub const IAT: Self = Self::known("iat");
    /// Who made the token.
    pub const ISS: Self = Self::known("iss");
    /// Whom the token is for.
    pub const AUD: Self = Self::known("aud");
    /// Whom the token speaks of.
    pub const SUB: Self = Self::known("sub");
    /// OAuth scopes, separated by spaces.
    pub const SCOPE: Self = Self::known("scope");
    /// The client that the token was given to.
    pub const CLIENT_ID: Self = Self::known("client_id");
    /// Rules in the form of [`rules`](super::rules).
    pub const MQTT: Self = Self::known("mqtt");

    const fn known(path: &'static str) -> Self {
        Self(Cow::Borrowed(path))
    }

    /// The claim at `path`.
    #[must_use]
    pub fn at(path: impl Into<String>) -> Self {
        Self(Cow::Owned(path.into()))
    }

    fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        let mut object = claims;
        let mut rest: &str = &self.0;
        loop {
            if let Some(value) = object.get(rest) {
                return Some(value);
            }
            let (name, tail) = cut_at_dot(rest)?;
            object = object.get(&*name)?.as_object()?;
            rest = tail;
        }
    }
}

/// The first name of a path and what follows; `None` for a path of one name.
fn cut_at_dot(path: &str) -> Option<(Cow<'_, str>, &str)> {
    let dot = path
        .match_indices('.')
        .map(|(at, _)| at)
        .find(|at| !path.get(..*at).is_some_and(|head| head.ends_with('\\')))?;
    let (head, tail) = path.split_at_checked(dot)?;
    let name = if head.contains('\\') {
        Cow::Owned(head.replace("\\.", "."))
    } else {
        Cow::Borrowed(head)
    };
    Some((name, tail.strip_prefix('.')?))
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// What a verified token or an active introspection answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims(Map<String, Value>);

impl From<Map<String, Value>> for Claims {
    fn from(members: Map<String, Value>) -> Self {
        Self(members)
    }
}

impl Claims {
    /// The value of a claim.
    #[must_use]
    pub fn value(&self, claim: &Claim) -> Option<&Value> {
        claim.find(&self.0).filter(|value| !value.is_null())
    }

    /// A claim that is text.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] if it is something else.
    pub fn text(&self, claim: &Claim) -> Result<Option<&str>, Refusal> {
        match self.value(claim) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(malformed(claim, "a string")),
        }
    }

    /// A claim that is one text or an array of them.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] if it is something else.
    pub fn texts(&self, claim: &Claim) -> Result<Vec<&str>, Refusal> {
        let expected = "a string or an array of strings";
        match self.value(claim) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().ok_or_else(|| malformed(claim, expected)))
                .collect(),
            Some(_) => Err(malformed(claim, expected)),
        }
    }

    /// A claim that is a time; fractions of a second are cut off.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] if it is no number, or before 1970.
    pub fn time(&self, claim: Claim) -> Result<Option<UnixSecs>, Refusal> {
        let Some(value) = self.value(&claim) else {
            return Ok(None);
        };
        match (value.as_u64(), value.as_f64()) {
            (Some(secs), _) => Ok(Some(UnixSecs(secs))),
            (None, Some(secs)) if secs >= 0.0 => Ok(Some(UnixSecs(secs as u64))),
            _ => Err(malformed(&claim, "a time in seconds since 1970")),
        }
    }
}

fn malformed(claim: &Claim, expected: &'static str) -> Refusal {
    Refusal::Malformed {
        claim: claim.clone(),
        expected,
    }
}

/// Which claims say what.
#[derive(Clone, Debug)]
pub struct ClaimNames {
    /// The user name: the first of these that a token has. Tokens that machines get for themselves may have a
    /// `client_id` and no `sub`; both in the list means that a machine may be called like a user.
    pub user_name: Vec<Claim>,
    /// What the user name of CONNECT has to do with it.
    pub user_name_in_connect: UserNameInConnect,
    /// The client ids that the token is for, one or an array of them. A token without the claim is refused.
    pub client_id: Option<Claim>,
    /// Groups or roles, by name: an array, or one text with spaces between them.
    pub groups: Option<Claim>,
    /// Rules in the form of [`rules`](super::rules).
    pub rules: Option<Claim>,
    /// OAuth scopes that are rules.
    pub scopes: Option<ScopeRules>,
    /// What a token without rules may do.
    pub without_rules: WithoutRules,
}

impl Default for ClaimNames {
    /// User name from `sub`, rules from `mqtt`; no other claim is looked at.
    fn default() -> Self {
        Self {
            user_name: vec![Claim::SUB],
            user_name_in_connect: UserNameInConnect::Ignored,
            client_id: None,
            groups: None,
            rules: Some(Claim::MQTT),
            scopes: None,
            without_rules: WithoutRules::OtherRules,
        }
    }
}

/// What the user name of CONNECT has to do with that of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserNameInConnect {
    /// Nothing: it may be anything, as with devices that must send one.
    Ignored,
    /// It must be the same, where there is one.
    Equal,
}

/// Where scopes with rules are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeRules {
    /// The claim, most often `scope`.
    pub claim: Claim,
    /// What a scope with a rule begins with, most often `mqtt.`, as in `mqtt.publish:garden/#`.
    pub prefix: String,
}

/// What a token without rules of its own may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutRules {
    /// What the other rules of the listener allow its user.
    OtherRules,
    /// Nothing.
    Nothing,
}

/// What a client has shown beside its token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presented<'a> {
    /// The client id that it will have.
    pub client_id: &'a str,
    /// The user name of its CONNECT.
    pub user_name: Option<&'a str>,
    /// SHA-256 of the TLS certificate that it has proved to own.
    pub certificate_sha256: Option<[u8; 32]>,
}

/// A client that may come in.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its user name; a token always brings one, the HTTP back end may let in clients without.
    pub user_name: Option<String>,
    /// Its groups or roles.
    pub groups: Vec<String>,
    /// Rules of its own; without them those of the listener hold.
    pub rules: Option<Rules>,
    /// When it has to authenticate again or go; leeway is the caller's.
    pub expires_at: Option<UnixSecs>,
}

impl ClaimNames {
    /// Makes a client of what a token claims and the client has shown.
    ///
    /// # Errors
    /// [`Refusal`] if a claim is missing or malformed, or the token is for another client id, user or
    /// certificate.
    pub fn identity(
        &self,
        claims: &Claims,
        presented: &Presented<'_>,
    ) -> Result<Identity, Refusal> {
        check_binding(claims, presented)?;
        let user_name = self.user_name(claims, presented)?;
        self.check_client_id(claims, presented)?;
        Ok(Identity {
            user_name: Some(user_name.to_owned()),
            groups: self.groups(claims)?,
            rules: self.rules(claims, presented.client_id, user_name)?,
            expires_at: claims.time(Claim::EXP)?,
        })
    }

    fn user_name<'a>(
        &self,
        claims: &'a Claims,
        presented: &Presented<'_>,
    ) -> Result<&'a str, Refusal> {
        let first = self.user_name.first().cloned().unwrap_or(Claim::SUB);
        let claim = self
            .user_name
            .iter()
            .find(|claim| claims.value(claim).is_some())
            .ok_or(Refusal::Missing(first))?;
        let name = claims
            .text(claim)?
            .filter(|name| is_user_name(name))
            .ok_or_else(|| malformed(claim, "a user name"))?;
        let must_match = self.user_name_in_connect == UserNameInConnect::Equal;
        if must_match && presented.user_name.is_some_and(|shown| shown != name) {
            return Err(Refusal::UserName(name.to_owned()));
        }
        Ok(name)
    }

    fn check_client_id(&self, claims: &Claims, presented: &Presented<'_>) -> Result<(), Refusal> {
        let Some(claim) = &self.client_id else {
            return Ok(());
        };
        let ids = claims.texts(claim)?;
        if ids.is_empty() {
            return Err(Refusal::Missing(claim.clone()));
        }
        if ids.contains(&presented.client_id) {
            Ok(())
        } else {
            Err(Refusal::ClientId(ids.join(" ")))
        }
    }

    fn groups(&self, claims: &Claims) -> Result<Vec<String>, Refusal> {
        let Some(claim) = &self.groups else {
            return Ok(Vec::new());
        };
        let is_one_text = claims.value(claim).is_some_and(Value::is_string);
        let groups: Vec<String> = claims
            .texts(claim)?
            .into_iter()
            .flat_map(|text| {
                // In an array a name may have spaces inside.
                let separator = if is_one_text { ' ' } else { '\0' };
                text.split(separator)
            })
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        let is_bounded = groups.len() <= GROUPS_MAX && groups.iter().all(|name| is_user_name(name));
        if is_bounded {
            Ok(groups)
        } else {
            Err(malformed(claim, "a list of at most 256 group names"))
        }
    }

    fn rules(
        &self,
        claims: &Claims,
        client_id: &str,
        user_name: &str,
    ) -> Result<Option<Rules>, Refusal> {
        let client = Client {
            id: client_id,
            user_name: Some(user_name),
        };
        let mut rules = None;
        if let Some(value) = self.rules.as_ref().and_then(|claim| claims.value(claim)) {
            let parsed = Rules::from_json(value, Origin::TokenClaim, &client);
            rules = Some(parsed.map_err(Refusal::Rules)?);
        }
        if let Some(ScopeRules { claim, prefix }) = &self.scopes {
            // RFC 6749 has one text with spaces, some providers an array.
            let scopes = claims.texts(claim)?;
            let scopes = scopes.iter().flat_map(|text| text.split(' '));
            let from_scopes =
                Rules::from_scopes(scopes, prefix, &client).map_err(Refusal::Rules)?;
            rules = match (rules, from_scopes) {
                (Some(one), Some(other)) => Some(one.joined(other)),
                (one, other) => one.or(other),
            };
        }
        Ok(match (rules, self.without_rules) {
            (None, WithoutRules::Nothing) => Some(Rules::nothing()),
            (rules, _) => rules,
        })
    }
}

/// Obeys `cnf`: a token that is bound to a key is worth nothing in other hands (RFC 8705 section 3).
fn check_binding(claims: &Claims, presented: &Presented<'_>) -> Result<(), Refusal> {
    let Some(confirmation) = claims.value(&Claim::known("cnf")) else {
        return Ok(());
    };
    let Some(thumbprint) = confirmation.get("x5t#S256").and_then(Value::as_str) else {
        return Err(Refusal::Binding(
            "the token is bound to a key in a way that MQTT cannot show (\"cnf\")",
        ));
    };
    let expected = URL_SAFE_NO_PAD.decode(thumbprint).unwrap_or_default();
    let is_shown = presented
        .certificate_sha256
        .is_some_and(|shown| constant_time::verify_slices_are_equal(&shown, &expected).is_ok());
    if is_shown {
        Ok(())
    } else {
        Err(Refusal::Binding(
            "the token is bound to a TLS certificate that the client has not shown",
        ))
    }
}

/// Names of users and groups go into logs, rules and file formats with lines.
pub(super) fn is_user_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= USER_NAME_BYTES_MAX && !name.chars().any(char::is_control)
}

/// Bytes of a user name or a group's name from a token.
pub const USER_NAME_BYTES_MAX: usize = 1024;

/// Groups of one client.
pub const GROUPS_MAX: usize = 256;

#[cfg(test)]
mod tests;
