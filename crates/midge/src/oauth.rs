//! Tokens as passwords: from a file, or from a provider.

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use midge_access::tokens::Post;
use midge_server::auth_fetch::{Answer, FetchSettings, Fetcher, Request};
use serde_json::Value as Json;

use crate::failure::{Failure, plain};
use crate::options::{Id, UsageError, Value};
use crate::terminal;

/// What the options about tokens say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OauthOptions {
    token_file: Option<PathBuf>,
    token_url: Option<String>,
    device_url: Option<String>,
    client_id: Option<String>,
    secret_file: Option<PathBuf>,
    scope: Option<String>,
    audience: Option<String>,
    resource: Option<String>,
}

/// The largest token that brokers take, and more.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;
/// How long a provider may take for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a device code is good when the provider does not say (RFC 8628 says that it must).
const DEVICE_SECS: u64 = 600;
/// Seconds between two questions whether the user has confirmed (RFC 8628 section 3.5).
const INTERVAL_SECS: u64 = 5;

impl OauthOptions {
    /// Takes an option about tokens; hands any other back.
    pub(crate) fn take(&mut self, id: Id, value: Value) -> Result<Option<Value>, UsageError> {
        match id {
            Id::OauthTokenFile => self.token_file = Some(value.into_os_string().into()),
            Id::OauthTokenUrl => self.token_url = Some(value.into_text("--oauth-token-url")?),
            Id::OauthDeviceUrl => self.device_url = Some(value.into_text("--oauth-device-url")?),
            Id::OauthClient => self.client_id = Some(value.into_text("--oauth-client-id")?),
            Id::OauthSecretFile => self.secret_file = Some(value.into_os_string().into()),
            Id::OauthScope => self.scope = Some(value.into_text("--oauth-scope")?),
            Id::OauthAudience => self.audience = Some(value.into_text("--oauth-audience")?),
            Id::OauthResource => self.resource = Some(value.into_text("--oauth-resource")?),
            _ => return Ok(Some(value)),
        }
        Ok(None)
    }

    /// Whether the password is a token.
    pub(crate) const fn is_used(&self) -> bool {
        self.token_file.is_some() || self.token_url.is_some()
    }

    /// Whether a new token takes somebody at a browser.
    pub(crate) const fn asks_a_person(&self) -> bool {
        self.device_url.is_some()
    }

    /// Checks what belongs together.
    pub(crate) fn check(&self) -> Result<(), UsageError> {
        if self.token_file.is_some() && self.token_url.is_some() {
            return Err("--oauth-token-file and --oauth-token-url cannot be used together.".into());
        }
        let is_asked = self.device_url.is_some()
            || self.client_id.is_some()
            || self.secret_file.is_some()
            || self.scope.is_some()
            || self.audience.is_some()
            || self.resource.is_some();
        if is_asked && self.token_url.is_none() {
            return Err("Options of OAuth given, but no --oauth-token-url.".into());
        }
        if self.token_url.is_none() {
            return Ok(());
        }
        if self.client_id.is_none() {
            return Err("--oauth-token-url needs --oauth-client-id.".into());
        }
        if self.device_url.is_none() && self.secret_file.is_none() {
            return Err(
                "--oauth-token-url needs --oauth-client-secret-file, or --oauth-device-url \
                 for a login in a browser."
                    .into(),
            );
        }
        Ok(())
    }

    /// Gets a token; asks the provider if that is where tokens come from.
    pub(crate) fn token(&self) -> Result<Vec<u8>, Failure> {
        if let Some(path) = &self.token_file {
            return read_file(Id::OauthTokenFile, path);
        }
        let mut provider = Provider::new(self)?;
        match &self.device_url {
            Some(url) => provider.device_flow(url),
            None => provider.client_credentials(),
        }
    }
}

/// The one line of a file that holds a secret.
fn read_file(option: Id, path: &Path) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;

    let fail = |why: String| Failure::File {
        option,
        text: format!("Unable to read {}: {why}.", path.display()),
    };
    let file = std::fs::File::open(path).map_err(|error| fail(plain(&error)))?;
    let mut text = Vec::new();
    file.take(TOKEN_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(|error| fail(plain(&error)))?;
    let text = text.trim_ascii();
    if text.is_empty() || text.len() as u64 > TOKEN_BYTES_MAX {
        return Err(fail("it should hold one token or secret".to_owned()));
    }
    Ok(text.to_vec())
}

/// A provider that is asked.
struct Provider<'a> {
    options: &'a OauthOptions,
    fetcher: Fetcher,
    secret: Option<Vec<u8>>,
}

/// What the provider says about a token that was asked for.
enum Verdict {
    Token(Vec<u8>),
    /// `error` and `error_description`.
    Refused {
        code: String,
        text: String,
    },
}

impl<'a> Provider<'a> {
    fn new(options: &'a OauthOptions) -> Result<Self, Failure> {
        let fetcher = Fetcher::start(FetchSettings {
            threads: 1,
            queue_max: 1,
            connect_timeout: PATIENCE,
            total_timeout: PATIENCE,
            ..FetchSettings::default()
        })?;
        let read = |path| read_file(Id::OauthSecretFile, path);
        let secret = options.secret_file.as_deref().map(read).transpose()?;
        Ok(Self {
            options,
            fetcher,
            secret,
        })
    }

    /// RFC 6749 section 4.4.
    fn client_credentials(&mut self) -> Result<Vec<u8>, Failure> {
        match self.ask_token(&[("grant_type", "client_credentials")])? {
            Verdict::Token(token) => Ok(token),
            Verdict::Refused { code, text } => Err(refused(&code, &text)),
        }
    }

    /// RFC 8628.
    fn device_flow(&mut self, url: &str) -> Result<Vec<u8>, Failure> {
        let mut form = self.wanted();
        form.push(self.client());
        let answer = self.post(url, &form, None)?;
        if answer.status != 200 {
            return Err(match verdict(url, &answer)? {
                Verdict::Refused { code, text } => refused(&code, &text),
                Verdict::Token(_) => malformed(url),
            });
        }
        let json: Json = serde_json::from_slice(&answer.body).map_err(|_| malformed(url))?;
        let text = |name: &str| json.get(name).and_then(Json::as_str);
        let seconds =
            |name: &str, default| json.get(name).and_then(Json::as_u64).unwrap_or(default);
        let code = text("device_code").ok_or_else(|| malformed(url))?;
        let page = text("verification_uri").or_else(|| text("verification_url"));
        let (Some(page), Some(user_code)) = (page, text("user_code")) else {
            return Err(malformed(url));
        };
        let page = text("verification_uri_complete").unwrap_or(page);
        terminal::complain(&format!(
            "To log in, open {}\nand enter the code {}",
            printable(page),
            printable(user_code)
        ));

        let deadline =
            Instant::now() + Duration::from_secs(seconds("expires_in", DEVICE_SECS).min(3600));
        let mut interval = seconds("interval", INTERVAL_SECS).clamp(1, 60);
        loop {
            std::thread::sleep(Duration::from_secs(interval));
            if Instant::now() > deadline {
                return Err(refused(
                    "expired_token",
                    "nobody confirmed the login in time",
                ));
            }
            let grant = "urn:ietf:params:oauth:grant-type:device_code";
            match self.ask_token(&[("grant_type", grant), ("device_code", code)])? {
                Verdict::Token(token) => return Ok(token),
                Verdict::Refused { code, .. } if code == "authorization_pending" => {}
                Verdict::Refused { code, .. } if code == "slow_down" => interval += INTERVAL_SECS,
                Verdict::Refused { code, text } => return Err(refused(&code, &text)),
            }
        }
    }

    fn ask_token(&mut self, form: &[(&str, &str)]) -> Result<Verdict, Failure> {
        let mut form: Vec<_> = form
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        form.extend(self.wanted());
        let url = self.options.token_url.clone().unwrap_or_default();
        let Some(secret) = &self.secret else {
            form.push(self.client());
            return verdict(&url, &self.post(&url, &form, None)?);
        };
        // Every provider takes the header, says the standard; some take only the form.
        let by_header = self.post(&url, &form, Some(self.basic(secret)))?;
        match verdict(&url, &by_header) {
            Ok(Verdict::Refused { code, .. }) if code == "invalid_client" => {}
            verdict => return verdict,
        }
        let secret = String::from_utf8_lossy(secret).into_owned();
        form.push(self.client());
        form.push(("client_secret".to_owned(), secret));
        verdict(&url, &self.post(&url, &form, None)?)
    }

    /// Who asks.
    fn client(&self) -> (String, String) {
        let id = self.options.client_id.clone().unwrap_or_default();
        ("client_id".to_owned(), id)
    }

    /// The header with the client's id and secret (RFC 6749 section 2.3.1).
    fn basic(&self, secret: &[u8]) -> String {
        let mut pair = String::new();
        encode(
            self.options.client_id.as_deref().unwrap_or_default(),
            &mut pair,
        );
        pair.push(':');
        encode(&String::from_utf8_lossy(secret), &mut pair);
        format!("Basic {}", BASE64_STANDARD.encode(pair))
    }

    /// What is asked for.
    fn wanted(&self) -> Vec<(String, String)> {
        let options = self.options;
        [
            ("scope", &options.scope),
            ("audience", &options.audience),
            ("resource", &options.resource),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)))
        .collect()
    }

    fn post(
        &self,
        url: &str,
        form: &[(String, String)],
        authorization: Option<String>,
    ) -> Result<Answer, Failure> {
        let mut body = String::new();
        for (name, value) in form {
            if !body.is_empty() {
                body.push('&');
            }
            body.push_str(name);
            body.push('=');
            encode(value, &mut body);
        }
        let request = Request::Post(Post {
            url: url.to_owned(),
            authorization,
            content_type: "application/x-www-form-urlencoded",
            body: body.into_bytes(),
        });
        let (sender, receiver) = sync_channel(1);
        let failed =
            |why: String| Failure::Other(format!("Unable to get a token from {url}: {why}."));
        self.fetcher
            .fetch(request, move |answer| {
                // Nobody waits any longer when this fails.
                let _ = sender.send(answer);
            })
            .map_err(|error| failed(error.to_string()))?;
        match receiver.recv() {
            Ok(answer) => answer.map_err(|error| failed(error.to_string())),
            Err(_) => Err(failed("no answer".to_owned())),
        }
    }
}

/// Percent-encodes a value of a form.
fn encode(value: &str, text: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push_str(&format!("{byte:02X}"));
        }
    }
}

/// Reads the answer of a token endpoint (RFC 6749 sections 5.1 and 5.2).
fn verdict(url: &str, answer: &Answer) -> Result<Verdict, Failure> {
    let json: Json = serde_json::from_slice(&answer.body).map_err(|_| {
        let status = answer.status;
        Failure::Other(format!(
            "Unable to get a token from {url}: status {status}, and the answer is no JSON."
        ))
    })?;
    let text = |name: &str| json.get(name).and_then(Json::as_str);
    if let Some(token) = text("access_token").filter(|_| answer.status == 200) {
        return Ok(Verdict::Token(token.as_bytes().to_vec()));
    }
    match text("error") {
        Some(code) => Ok(Verdict::Refused {
            code: printable(code),
            text: printable(text("error_description").unwrap_or_default()),
        }),
        None => Err(malformed(url)),
    }
}

fn refused(code: &str, text: &str) -> Failure {
    let text = if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    };
    Failure::Other(format!("The provider gives no token ({code}{text})."))
}

fn malformed(url: &str) -> Failure {
    Failure::Other(format!(
        "The answer of {url} is not what OAuth asks for. Is it the right address?"
    ))
}

/// Words of others for a terminal: without what would steer it.
fn printable(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(500)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            max_age: None,
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn values_of_forms_are_encoded() {
        let mut text = String::new();
        encode("a b+c~é", &mut text);
        assert_eq!(text, "a%20b%2Bc~%C3%A9");
    }

    #[test]
    fn a_provider_says_yes_no_or_nonsense() {
        let url = "https://id.example/token";
        let Ok(Verdict::Token(token)) = verdict(url, &answer(200, r#"{"access_token":"t"}"#))
        else {
            panic!("no token");
        };
        assert_eq!(token, b"t");
        let refusal = r#"{"error":"invalid_client","error_description":"who\u001b[2J?"}"#;
        let Ok(Verdict::Refused { code, text }) = verdict(url, &answer(401, refusal)) else {
            panic!("no refusal");
        };
        assert_eq!(
            (code.as_str(), text.as_str()),
            ("invalid_client", "who[2J?")
        );
        assert!(verdict(url, &answer(200, "{}")).is_err());
        assert!(verdict(url, &answer(502, "<html>")).is_err());
    }
}
