//! Logins that somebody else decides: OAuth 2 tokens and an HTTP back end.

use std::path::PathBuf;

use midge_access::tokens::keys::Algorithm;

use super::draft::{Draft, Security};
use super::error::{ConfigError, EXIT_CONFIG};
use super::value::{Args, Fault, shown};
use crate::auth_fetch::{PlainHttp, check_address};

/// Tokens of one provider, as one listener takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth {
    /// The issuer that tokens name, and whose discovery document says where its keys are.
    pub issuer: Option<String>,
    /// Where the keys are, without discovery.
    pub jwks_uri: Option<String>,
    /// Files with keys, PEM or JWK sets, instead of asking for them.
    pub key_files: Vec<PathBuf>,
    /// One of these is what a token must be for; `*` stands for everything.
    pub audience: Vec<String>,
    /// The signature algorithms that are accepted.
    pub algorithms: Vec<Algorithm>,
    /// Seconds by which the provider's clock may differ.
    pub leeway_secs: u32,
    /// The claims that are looked at for the user name, the first that a token has.
    pub username_claims: Vec<String>,
    /// The claim with the client ids that a token is for.
    pub clientid_claim: Option<String>,
    /// The claim with the groups of the access file.
    pub groups_claim: Option<String>,
    /// The claim with rules.
    pub rules_claim: String,
    /// The user name that says that the password is a token.
    pub token_username: Option<String>,
    /// Where opaque tokens are asked about.
    pub introspection_uri: Option<String>,
    /// Who the broker is there.
    pub introspection_client_id: Option<String>,
    /// The file with its secret.
    pub introspection_secret_file: Option<PathBuf>,
}

impl Default for OAuth {
    fn default() -> Self {
        Self {
            issuer: None,
            jwks_uri: None,
            key_files: Vec::new(),
            audience: Vec::new(),
            algorithms: Algorithm::ASYMMETRIC.to_vec(),
            leeway_secs: 60,
            username_claims: vec!["sub".to_owned()],
            clientid_claim: None,
            groups_claim: None,
            rules_claim: "mqtt".to_owned(),
            token_username: None,
            introspection_uri: None,
            introspection_client_id: None,
            introspection_secret_file: None,
        }
    }
}

/// A URL that is asked about logins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpLogin {
    /// Where to post; empty only while the file is read.
    pub url: String,
    /// Milliseconds until a login without an answer is refused.
    pub timeout_ms: u32,
    /// Seconds for which an answer is kept that does not say; 0 keeps none.
    pub cache_secs: u32,
    /// The file with the token that the broker shows.
    pub token_file: Option<PathBuf>,
}

impl Default for HttpLogin {
    fn default() -> Self {
        Self {
            url: String::new(),
            timeout_ms: 5_000,
            cache_secs: 10,
            token_file: None,
        }
    }
}

/// A method that judges logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// The client's certificate, or its pre-shared key, where that is the user name.
    Certificate,
    /// Tokens.
    OAuth,
    /// `password_file`.
    PasswordFile,
    /// Dynamic security.
    Dynsec,
    /// `http_login_url`.
    Http,
    /// No user name.
    Anonymous,
}

/// Reads the methods of `auth_order`.
pub(super) fn auth_order(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    let mut order = Vec::new();
    let mut word = Some(args.word()?);
    while let Some(name) = word {
        let method = match name {
            // Either gives the connection its name.
            "certificate" | "psk" => AuthMethod::Certificate,
            "oauth" => AuthMethod::OAuth,
            "password_file" => AuthMethod::PasswordFile,
            "dynsec" => AuthMethod::Dynsec,
            "http" => AuthMethod::Http,
            "anonymous" => AuthMethod::Anonymous,
            _ => return Err(args.invalid(name)),
        };
        match order.contains(&method) {
            true if name == "psk" => {}
            true => return Err(args.invalid(name)),
            false => order.push(method),
        }
        word = args.next_word();
    }
    draft.security().auth_order = Some(order);
    Ok(())
}

/// An address that may be asked.
pub(super) fn address(args: &mut Args<'_>) -> Result<String, Fault> {
    let text = args.text()?;
    match check_address(text, PlainHttp::LoopbackOnly) {
        Ok(()) => Ok(text.to_owned()),
        Err(fault) => {
            let label = args.option.label;
            let message = format!("Error: Invalid '{label}' value ({}).", shown(text));
            Err(Fault::new(message, fault.to_string()))
        }
    }
}

/// Words up to the end of the line, at least one.
pub(super) fn words(args: &mut Args<'_>) -> Result<Vec<String>, Fault> {
    let mut words = vec![args.word()?.to_owned()];
    while let Some(word) = args.next_word() {
        if word.starts_with('#') {
            while args.next_word().is_some() {}
            break;
        }
        words.push(word.to_owned());
    }
    Ok(words)
}

/// `oauth_algorithms RS256 ES256`.
pub(super) fn algorithms(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    let mut algorithms = Vec::new();
    for word in words(args)? {
        let algorithm = Algorithm::from_name(&word).ok_or_else(|| args.invalid(&word))?;
        algorithms.push(algorithm);
    }
    draft.oauth().algorithms = algorithms;
    Ok(())
}

impl Draft {
    /// The options of tokens that are being read.
    pub(super) fn oauth(&mut self) -> &mut OAuth {
        let place = self.placed(()).place;
        let security = self.security();
        security.oauth_place.get_or_insert(place);
        security.oauth.get_or_insert_default()
    }

    /// The options of the HTTP back end that are being read.
    pub(super) fn http_login(&mut self) -> &mut HttpLogin {
        let place = self.placed(()).place;
        let security = self.security();
        security.http_login_place.get_or_insert(place);
        security.http_login.get_or_insert_default()
    }

    /// Refuses options that lack others.
    pub(super) fn check_logins(&mut self) {
        let all = self.listeners.iter().map(|listener| &listener.security);
        let mut errors = Vec::new();
        for security in all.chain([&self.general_security]) {
            let oauth = security.oauth.as_ref().zip(security.oauth_place.as_ref());
            if let Some((oauth, place)) = oauth
                && let Some(fault) = lacks(oauth)
            {
                errors.push(placed(place, fault));
            }
            if let Security {
                http_login: Some(http),
                http_login_place: Some(place),
                ..
            } = security
                && http.url.is_empty()
            {
                let message = "Error: The options of the HTTP back end need 'http_login_url'.";
                let hint = "set the address that is asked about logins, or remove them";
                errors.push(placed(place, Fault::new(message, hint)));
            }
        }
        self.errors.extend(errors);
    }
}

fn placed((file, line): &(String, u32), fault: Fault) -> ConfigError {
    ConfigError {
        file: file.clone(),
        line: *line,
        message: fault.message,
        hint: fault.hint,
        exit_code: EXIT_CONFIG,
    }
}

fn lacks(oauth: &OAuth) -> Option<Fault> {
    let has_keys = oauth.issuer.is_some() || oauth.jwks_uri.is_some();
    if !has_keys && oauth.key_files.is_empty() && oauth.introspection_uri.is_none() {
        return Some(Fault::new(
            "Error: Tokens need something to be verified with.",
            "set oauth_issuer, oauth_jwks_uri, oauth_key_file or oauth_introspection_uri",
        ));
    }
    if oauth.jwks_uri.is_some() && !oauth.key_files.is_empty() {
        return Some(Fault::new(
            "Error: 'oauth_jwks_uri' and 'oauth_key_file' exclude each other.",
            "remove the one that the keys do not come from",
        ));
    }
    if oauth.audience.is_empty() {
        return Some(Fault::new(
            "Error: Tokens need 'oauth_audience'.",
            "name what tokens for this broker have in aud; * takes tokens for anybody, also those \
             for other services of the provider",
        ));
    }
    let is_shared = oauth
        .algorithms
        .iter()
        .any(|algorithm| algorithm.is_symmetric());
    if is_shared && oauth.key_files.is_empty() {
        return Some(Fault::new(
            "Error: The HS algorithms of 'oauth_algorithms' need 'oauth_key_file'.",
            "a shared secret can come from a file of your own only",
        ));
    }
    let has_id = oauth.introspection_client_id.is_some();
    if has_id != oauth.introspection_secret_file.is_some() {
        return Some(Fault::new(
            "Error: 'oauth_introspection_client_id' and 'oauth_introspection_secret_file' need \
             each other.",
            "set both, or none for a provider that does not ask who asks",
        ));
    }
    if has_id && oauth.introspection_uri.is_none() {
        return Some(Fault::new(
            "Error: 'oauth_introspection_client_id' needs 'oauth_introspection_uri'.",
            "set the address that is asked about opaque tokens, or remove it",
        ));
    }
    None
}
