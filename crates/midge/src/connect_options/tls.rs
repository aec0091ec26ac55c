//! TLS, as the command line asks for it.

use std::path::PathBuf;

use crate::options::{Id, UsageError, Value};

/// What the options about TLS say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsOptions {
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) ca_path: Option<PathBuf>,
    pub(crate) system_authorities: bool,
    off: bool,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) insecure: bool,
    /// 1.3 alone.
    pub(crate) only_13: bool,
    pub(crate) ciphers: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) key_log: Option<PathBuf>,
    /// The form of the key was given.
    key_form: bool,
    /// As given: hexadecimal digits.
    pub(crate) shared_key: Option<String>,
    pub(crate) shared_key_identity: Option<String>,
}

impl TlsOptions {
    /// Takes an option about TLS; hands any other back.
    pub(super) fn take(&mut self, id: Id, value: Value) -> Result<Option<Value>, UsageError> {
        let path = |value: Value| Some(PathBuf::from(value.into_os_string()));
        match id {
            Id::CaFile => self.ca_file = path(value),
            Id::CaPath => self.ca_path = path(value),
            Id::SystemCas => self.system_authorities = true,
            Id::NoTls => self.off = true,
            Id::Certificate => self.certificate = path(value),
            Id::Key => self.key = path(value),
            Id::Insecure => self.insecure = true,
            Id::TlsVersion => {
                self.only_13 = match value.lossy().as_str() {
                    "tlsv1.2" => false,
                    "tlsv1.3" => true,
                    version => {
                        return Err(UsageError(format!(
                            "Problem setting TLS options: there is no TLS version {version} here, \
                             take tlsv1.2 or tlsv1.3."
                        )));
                    }
                };
            }
            Id::Ciphers => self.ciphers = Some(value.into_text("--ciphers")?),
            Id::TlsAlpn => self.protocol = Some(value.into_text("--tls-alpn")?),
            Id::TlsKeylog => self.key_log = path(value),
            Id::Psk | Id::PskIdentity if !cfg!(feature = "tls-psk") => {
                return Err(
                    "TLS with a shared key (--psk) is not in this build: that takes `cargo build \
                     --release -p midge --features tls-psk`. Or use a certificate authority (--cafile), and a \
                     client certificate (--cert, --key) in the place of the identity."
                        .into(),
                );
            }
            Id::Psk => self.shared_key = Some(value.into_text("--psk")?),
            Id::PskIdentity => self.shared_key_identity = Some(value.into_text("--psk-identity")?),
            Id::TlsEngine | Id::TlsEnginePassword => {
                return Err(
                    "--tls-engine is not supported: engines are OpenSSL's. Give the key as a \
                     PEM file by --key."
                        .into(),
                );
            }
            Id::KeyForm => {
                self.key_form = true;
                if value.lossy() != "pem" {
                    return Err(
                        "Problem setting key form, it must be 'pem': engines are not \
                         supported."
                            .into(),
                    );
                }
            }
            _ => return Ok(Some(value)),
        }
        Ok(None)
    }

    /// Checks what belongs together.
    pub(super) fn check(&self) -> Result<(), UsageError> {
        if self.key_form && self.key.is_none() {
            return Err("If keyform is set, keyfile must be also specified.".into());
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err("Both certfile and keyfile must be provided if one of them is set.".into());
        }
        if self.shared_key.is_some() && self.has_authority_files() {
            return Err("Only one of --psk or --cafile/--capath may be used at once.".into());
        }
        if self.shared_key.is_some() && self.shared_key_identity.is_none() {
            return Err("--psk-identity required if --psk used.".into());
        }
        Ok(())
    }

    /// As `mqtts://` asks for.
    pub(super) const fn use_system_authorities(&mut self) {
        self.system_authorities = true;
    }

    /// Whether there are authorities of the user's own.
    pub(super) const fn has_authority_files(&self) -> bool {
        self.ca_file.is_some() || self.ca_path.is_some()
    }

    /// Whether the port of TLS is the usual one.
    pub(super) const fn moves_port(&self) -> bool {
        self.has_authority_files() || self.shared_key.is_some()
    }

    /// Whether a connection to `port` is to have TLS.
    pub(super) const fn is_wanted(&self, port: u16) -> bool {
        !self.off && (self.moves_port() || self.system_authorities || port == 8883)
    }
}
