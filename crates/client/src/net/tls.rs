//! What TLS connections are made of, and making it when the files are new.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use midge_transport::tls::{
    CertificateInfo, ClientTls, ClientTlsOptions, DefaultTimeProvider, FileProblem, HostCheck,
    KeyLogger, PemFile, ServerCertificate, TlsConfigError, TlsVersion,
};

#[cfg(feature = "tls-psk")]
use midge_transport::tls::{PreSharedKey, PskClientOptions};

use crate::error::OptionsError;

/// Files of a directory of CAs, at most.
const DIRECTORY_FILES_MAX: usize = 10_000;

/// What TLS agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// OpenSSL's name of the cipher.
    pub cipher: &'static str,
    /// The protocol that was chosen by ALPN.
    pub protocol: Option<Vec<u8>>,
    /// Whether an earlier session was resumed, which spares both sides most of the work.
    pub is_resumed: bool,
    /// The subject of the broker's certificate, e.g. `CN=broker.example,O=Example`; `None` when it cannot
    /// be read.
    pub peer_subject: Option<String>,
    /// When the broker's certificate ends to be valid; `None` when it cannot be read.
    pub peer_not_after: Option<SystemTime>,
}

/// The last moment at which a certificate is valid.
pub(super) fn end_of(certificate: &CertificateInfo) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(certificate.not_after))
}

/// How TLS is done: whom to trust, who we are. rustls does it, with TLS 1.2 and 1.3.
///
/// Files are PEM. They are read before the first connection, and again before a later one when they have
/// changed: a client certificate that is renewed is used without a restart. One that cannot be used
/// then is passed over, and the one before stays in use.
///
/// ```
/// use midge_client::{Options, TlsOptions};
///
/// let tls = TlsOptions::new().ca_file("/etc/ssl/broker-ca.pem").certificate_files("me.pem", "me.key");
/// let options = Options::new("mqtts://broker.example")?.tls(tls);
/// # Ok::<(), midge_client::OptionsError>(())
/// ```
#[derive(Clone, Default)]
pub struct TlsOptions {
    cas: Vec<Ca>,
    has_platform_cas: bool,
    revocation_lists: Vec<Source>,
    certificate: Option<Source>,
    key: Option<Source>,
    pub(crate) server_name: Option<String>,
    host_check: HostCheck,
    accepts_any_certificate: bool,
    oldest_version: TlsVersion,
    newest_version: Option<TlsVersion>,
    ciphers: Option<String>,
    ciphers_tls13: Option<String>,
    protocols: Vec<String>,
    key_log: Option<PathBuf>,
    #[cfg(feature = "tls-psk")]
    pre_shared_key: Option<PreSharedKey>,
}

#[derive(Clone)]
enum Ca {
    Source(Source),
    Directory(PathBuf),
}

/// Where PEM text comes from.
#[derive(Clone)]
enum Source {
    File(PathBuf),
    /// With what errors call it.
    Text(&'static str, Vec<u8>),
}

impl TlsOptions {
    /// Trusts the CAs of the platform, and shows no certificate.
    ///
    /// The platform's are those of the operating system, or those that the environment variables
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the CAs in this file, and no longer those of the platform. May be called again for more.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.cas.push(Ca::Source(Source::File(path.into())));
        self
    }

    /// Trusts the CAs in the files of this directory, whatever their names, and no longer those of the
    /// platform. May be called again for more.
    #[must_use]
    pub fn ca_directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.cas.push(Ca::Directory(path.into()));
        self
    }

    /// Trusts the CAs in this PEM text, and no longer those of the platform. May be called again for
    /// more.
    #[must_use]
    pub fn ca_pem(mut self, text: impl Into<Vec<u8>>) -> Self {
        let source = Source::Text("the CA", text.into());
        self.cas.push(Ca::Source(source));
        self
    }

    /// Trusts the CAs of the platform beside those that were named.
    #[must_use]
    pub const fn platform_cas(mut self) -> Self {
        self.has_platform_cas = true;
        self
    }

    /// Refuses servers whose certificates are in this file of revocation lists. There has to be a list of
    /// each CA that signs servers. May be called again for more.
    #[must_use]
    pub fn revocation_list_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.revocation_lists.push(Source::File(path.into()));
        self
    }

    /// The certificate that the broker is shown, with the intermediate ones behind it, and its key, which
    /// must not be encrypted. Both may be the same file.
    #[must_use]
    pub fn certificate_files(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.certificate = Some(Source::File(certificate.into()));
        self.key = Some(Source::File(key.into()));
        self
    }

    /// The same as PEM text.
    #[must_use]
    pub fn certificate_pem(
        mut self,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.certificate = Some(Source::Text("the certificate", certificate.into()));
        self.key = Some(Source::Text("the key", key.into()));
        self
    }

    /// The name to ask for (SNI) and to expect in the broker's certificate, where it differs from the host
    /// of the address.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Takes the host's name from the common name of a certificate without alternative names, as old
    /// private CAs make them.
    #[must_use]
    pub const fn accept_common_name(mut self) -> Self {
        self.host_check = HostCheck::CommonName;
        self
    }

    /// **Dangerous.** Does not look for the host's name in the broker's certificate: whoever has a
    /// certificate of a CA that is trusted can play the broker. (`--insecure` of `mosquitto_pub`.)
    #[must_use]
    pub const fn danger_accept_any_host_name(mut self) -> Self {
        self.host_check = HostCheck::None;
        self
    }

    /// **Dangerous.** Does not look at the broker's certificate at all: anybody who can step in between
    /// reads and changes everything.
    #[must_use]
    pub const fn danger_accept_any_certificate(mut self) -> Self {
        self.accepts_any_certificate = true;
        self
    }

    /// The versions that may be used; 1.2 and 1.3 if not set. The broker chooses the newest that it
    /// knows.
    #[must_use]
    pub const fn versions(mut self, oldest: TlsVersion, newest: TlsVersion) -> Self {
        self.oldest_version = oldest;
        self.newest_version = Some(newest);
        self
    }

    /// The ciphers of TLS 1.2 in OpenSSL's language, e.g. `ECDHE+AESGCM`; all that are good if not set.
    #[must_use]
    pub fn ciphers(mut self, list: impl Into<String>) -> Self {
        self.ciphers = Some(list.into());
        self
    }

    /// The ciphers of TLS 1.3, separated by colons; all that are good if not set.
    #[must_use]
    pub fn ciphers_tls13(mut self, list: impl Into<String>) -> Self {
        self.ciphers_tls13 = Some(list.into());
        self
    }

    /// Protocols to offer by ALPN, the dearest first, as some brokers want on port 443: `mqtt` is the
    /// registered name. None if not set.
    #[must_use]
    pub fn alpn<N: Into<String>>(mut self, protocols: impl IntoIterator<Item = N>) -> Self {
        self.protocols = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// **Whoever has this file can read the connections.** Appends their secrets to it, for Wireshark.
    #[must_use]
    pub fn key_log_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.key_log = Some(path.into());
        self
    }

    /// Uses a key that the broker has too in the place of certificates: no CA is looked at, and no name.
    /// The versions, [`Self::ciphers`] and [`Self::alpn`] count as before.
    #[cfg(feature = "tls-psk")]
    #[must_use]
    pub fn pre_shared_key(mut self, key: PreSharedKey) -> Self {
        self.pre_shared_key = Some(key);
        self
    }

    /// Takes a parameter of a URL; `false` if it is none of TLS.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<bool, &'static str> {
        let options = std::mem::take(self);
        let flag = |method: fn(Self) -> Self, options: Self| match value {
            "true" => Ok(method(options)),
            "false" => Ok(options),
            _ => Err("true or false"),
        };
        *self = match name {
            "ca_file" => options.ca_file(value),
            "ca_directory" => options.ca_directory(value),
            "certificate_file" => Self {
                certificate: Some(Source::File(value.into())),
                ..options
            },
            "key_file" => Self {
                key: Some(Source::File(value.into())),
                ..options
            },
            "server_name" => options.server_name(value),
            "alpn" => options.alpn(value.split(',')),
            "danger_accept_any_host_name" => flag(Self::danger_accept_any_host_name, options)?,
            "danger_accept_any_certificate" => flag(Self::danger_accept_any_certificate, options)?,
            _ => {
                *self = options;
                return Ok(false);
            }
        };
        Ok(true)
    }

    /// Reads everything.
    fn build(&self) -> Result<Built, OptionsError> {
        #[cfg(feature = "tls-psk")]
        if let Some(key) = &self.pre_shared_key {
            return self.build_with_key(key);
        }
        let mut files = Files::default();
        let mut cas = Vec::new();
        for ca in &self.cas {
            match ca {
                Ca::Source(source) => cas.push(files.read("ca_file", source)?),
                Ca::Directory(path) => files.read_directory(path, &mut cas)?,
            }
        }
        let wants_platform = self.has_platform_cas || self.cas.is_empty();
        let platform_cas = if wants_platform && !self.accepts_any_certificate {
            platform_cas(self.cas.is_empty())?
        } else {
            Vec::new()
        };
        let mut lists = Vec::new();
        for source in &self.revocation_lists {
            lists.push(files.read("revocation_list_file", source)?);
        }
        let identity = match (&self.certificate, &self.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                Some((files.read(CERTIFICATE, certificate)?, files.read(KEY, key)?))
            }
            // PEM files often have both.
            (Some(both), None) => Some((
                files.read(CERTIFICATE, both)?,
                files.read(CERTIFICATE, both)?,
            )),
            (None, Some(_)) => {
                return Err(OptionsError(
                    "there is a client's key without a certificate (certificate_file)".to_owned(),
                ));
            }
        };
        let key_logger = self.key_logger()?;
        let read: Vec<&Text> = (cas.iter().chain(&lists))
            .chain(identity.iter().flat_map(|(chain, key)| [chain, key]))
            .collect();
        let (cas, lists) = (texts(&cas), texts(&lists));
        let protocols = self.protocols();
        let tls = ClientTls::new(&ClientTlsOptions {
            platform_cas: &platform_cas,
            revocation_lists: &lists,
            certificate: identity
                .as_ref()
                .map(|(certificate, key)| ServerCertificate {
                    chain: certificate.pem(),
                    key: key.pem(),
                }),
            host_check: self.host_check,
            accepts_any_certificate: self.accepts_any_certificate,
            oldest_version: self.oldest_version,
            newest_version: self.newest_version.unwrap_or(TlsVersion::V13),
            ciphers: self.ciphers.as_deref(),
            ciphers_tls13: self.ciphers_tls13.as_deref(),
            protocols: &protocols,
            key_logger,
            ..ClientTlsOptions::new(&cas, Arc::new(DefaultTimeProvider))
        })
        .map_err(|error| faulty(&error, &read))?;
        Ok(Built {
            tls: Arc::new(tls),
            stamps: files.stamps,
        })
    }
}

impl TlsOptions {
    #[cfg(feature = "tls-psk")]
    fn build_with_key(&self, key: &PreSharedKey) -> Result<Built, OptionsError> {
        let tls = ClientTls::with_key(PskClientOptions {
            key,
            oldest_version: self.oldest_version,
            newest_version: self.newest_version.unwrap_or(TlsVersion::V13),
            ciphers: self.ciphers.as_deref(),
            ciphers_tls13: self.ciphers_tls13.as_deref(),
            protocols: &self.protocols(),
            key_logger: self.key_logger()?,
        })
        .map_err(|error| OptionsError(error.to_string()))?;
        Ok(Built {
            tls: Arc::new(tls),
            stamps: Vec::new(),
        })
    }

    fn protocols(&self) -> Vec<&str> {
        self.protocols.iter().map(String::as_str).collect()
    }

    fn key_logger(&self) -> Result<Option<KeyLogger>, OptionsError> {
        self.key_log.as_deref().map(key_logger).transpose()
    }
}

/// Says whom it trusts, and no more.
impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("server_name", &self.server_name)
            .field("host_check", &self.host_check)
            .field("accepts_any_certificate", &self.accepts_any_certificate)
            .finish_non_exhaustive()
    }
}

fn platform_cas(is_needed: bool) -> Result<Vec<Vec<u8>>, OptionsError> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() && is_needed {
        let why = match found.errors.first() {
            Some(error) => error.to_string(),
            None => "it has none".to_owned(),
        };
        return Err(OptionsError(format!(
            "there are no CAs of the platform to verify the broker with: {why}; install \
             ca-certificates, or name the broker's CA (ca_file)"
        )));
    }
    Ok(found.certs.iter().map(|ca| ca.to_vec()).collect())
}

fn key_logger(path: &Path) -> Result<KeyLogger, OptionsError> {
    let mut open = fs::OpenOptions::new();
    open.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
    let file = open.open(path).map_err(|error| {
        OptionsError(format!(
            "key_log_file: cannot write to {}: {error}",
            path.display()
        ))
    })?;
    Ok(Arc::new(move |line: &str| {
        // One write for a line: other processes may append to the same file. Nobody could mend a failure.
        let _ = (&file).write_all(format!("{line}\n").as_bytes());
    }))
}

/// What errors call the options that name a certificate and its key.
const CERTIFICATE: &str = "certificate_file";
const KEY: &str = "key_file";

struct Text {
    /// The option that named the file; empty for text that is in the program.
    option: &'static str,
    name: String,
    bytes: Vec<u8>,
}

impl Text {
    fn pem(&self) -> PemFile<'_> {
        PemFile {
            name: &self.name,
            text: &self.bytes,
        }
    }
}

fn texts(texts: &[Text]) -> Vec<PemFile<'_>> {
    texts.iter().map(Text::pem).collect()
}

/// What has been read, and when it was written.
#[derive(Default)]
struct Files {
    stamps: Vec<(PathBuf, Option<SystemTime>)>,
}

fn stamp(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|found| found.modified()).ok()
}

impl Files {
    fn read(&mut self, option: &'static str, source: &Source) -> Result<Text, OptionsError> {
        match source {
            Source::Text(name, bytes) => Ok(Text {
                option: "",
                name: (*name).to_owned(),
                bytes: bytes.clone(),
            }),
            Source::File(path) => {
                // First, so that what is written meanwhile is noticed.
                self.stamps.push((path.clone(), stamp(path)));
                let bytes = fs::read(path).map_err(|error| unreadable(option, path, &error))?;
                Ok(Text {
                    option,
                    name: path.display().to_string(),
                    bytes,
                })
            }
        }
    }

    fn read_directory(&mut self, path: &Path, cas: &mut Vec<Text>) -> Result<(), OptionsError> {
        self.stamps.push((path.to_owned(), stamp(path)));
        let before = cas.len();
        let option = "ca_directory";
        let entries = fs::read_dir(path).map_err(|error| unreadable(option, path, &error))?;
        for entry in entries.take(DIRECTORY_FILES_MAX) {
            let entry = entry.map_err(|error| unreadable(option, path, &error))?;
            if !entry.path().is_file() {
                continue;
            }
            let text = self.read(option, &Source::File(entry.path()))?;
            // Revocation lists, keys and notes may lie there too.
            const MARK: &[u8] = b"CERTIFICATE-----";
            if text.bytes.windows(MARK.len()).any(|part| part == MARK) {
                cas.push(text);
            }
        }
        if cas.len() == before {
            return Err(OptionsError(format!(
                "{option}: {} has no file with a CA in it",
                path.display()
            )));
        }
        Ok(())
    }
}

fn unreadable(option: &str, path: &Path, error: &std::io::Error) -> OptionsError {
    OptionsError(format!("{option}: cannot read {}: {error}", path.display()))
}

/// What is wrong with a file, with the option that named it.
fn faulty(error: &TlsConfigError, read: &[&Text]) -> OptionsError {
    let TlsConfigError::File { file, problem, .. } = error else {
        return OptionsError(error.to_string());
    };
    let is_of_key = matches!(
        problem,
        FileProblem::NoKey
            | FileProblem::EncryptedKey
            | FileProblem::KeyKind(_)
            | FileProblem::Key(_)
            | FileProblem::KeyMismatch(_)
    );
    let named = |text: &&&Text| *text.name == **file && !text.option.is_empty();
    // One file may have a certificate and its key.
    let found = (read.iter().filter(named)).find(|text| !is_of_key || text.option == KEY);
    match found.or_else(|| read.iter().find(named)) {
        Some(text) => OptionsError(format!("{}: {error}", text.option)),
        None => OptionsError(error.to_string()),
    }
}

struct Built {
    tls: Arc<ClientTls>,
    stamps: Vec<(PathBuf, Option<SystemTime>)>,
}

impl Built {
    fn is_stale(&self) -> bool {
        self.stamps.iter().any(|(path, seen)| stamp(path) != *seen)
    }
}

/// TLS options, and what was made of them.
#[derive(Default)]
pub(crate) struct TlsState {
    pub(crate) options: TlsOptions,
    built: Mutex<Option<Built>>,
}

impl TlsState {
    pub(crate) fn new(options: TlsOptions) -> Self {
        Self {
            options,
            built: Mutex::default(),
        }
    }

    /// TLS as the files have it now. Reads files, so it may block.
    pub(crate) fn ready(&self) -> Result<Arc<ClientTls>, OptionsError> {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        match &*built {
            Some(before) if !before.is_stale() => return Ok(Arc::clone(&before.tls)),
            Some(before) => {
                // Somebody may be in the midst of replacing certificate and key.
                let tls = Arc::clone(&before.tls);
                return match self.options.build() {
                    Ok(now) => Ok(Arc::clone(&built.insert(now).tls)),
                    Err(_) => Ok(tls),
                };
            }
            None => {}
        }
        Ok(Arc::clone(&built.insert(self.options.build()?).tls))
    }
}

#[cfg(test)]
mod tests;
