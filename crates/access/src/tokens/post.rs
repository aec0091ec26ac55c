//! Requests that are to be sent for a login.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A POST to a provider or back end. It holds secrets: it is sent and forgotten, and never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Post {
    /// Where to.
    pub url: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The `Content-Type` header; `Accept` is `application/json`.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// How the broker says who it is (RFC 6749 section 2.3.1, RFC 7662 section 2.1).
#[derive(Clone, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// Not at all, for a server on the same machine.
    None,
    /// Client id and secret by HTTP Basic.
    Basic {
        /// Client id.
        id: String,
        /// Its secret.
        secret: String,
    },
    /// Client id and secret in the form.
    Form {
        /// Client id.
        id: String,
        /// Its secret.
        secret: String,
    },
    /// A token of the broker's own.
    Bearer(String),
}

impl fmt::Debug for ClientAuthentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic",
            Self::Form { .. } => "Form",
            Self::Bearer(_) => "Bearer",
        })
    }
}

impl ClientAuthentication {
    /// The `Authorization` header, where one is used.
    #[must_use]
    pub fn header(&self) -> Option<String> {
        match self {
            Self::None | Self::Form { .. } => None,
            Self::Basic { id, secret } => {
                // Both are form-encoded before they are joined, so that a colon cannot be mistaken.
                let [id, secret] = [id, secret].map(|text| form_encoded(text));
                Some(format!(
                    "Basic {}",
                    STANDARD.encode(format!("{id}:{secret}"))
                ))
            }
            Self::Bearer(token) => Some(format!("Bearer {token}")),
        }
    }
}

fn form_encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6749_2_3_1_id_and_secret_are_encoded_before_they_are_joined() {
        let basic = |id: &str, secret: &str| ClientAuthentication::Basic {
            id: id.into(),
            secret: secret.into(),
        };
        let header = basic("s6BhdRkqt3", "gX1fBat3bV").header().unwrap();
        assert_eq!(header, "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW");
        let header = basic("a:b", "c d").header().unwrap();
        let expected = format!("Basic {}", STANDARD.encode("a%3Ab:c+d"));
        assert_eq!(header, expected);
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let post = Post {
            url: "https://x".into(),
            authorization: Some("Bearer geheim".into()),
            content_type: "application/json",
            body: b"geheim".to_vec(),
        };
        let how = ClientAuthentication::Bearer("geheim".into());
        assert!(!format!("{post:?} {how:?}").contains("geheim"));
    }
}
