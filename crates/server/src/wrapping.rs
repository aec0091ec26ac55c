//! What a listener wraps its connections in, as the configuration says: TLS, WebSocket, the header of a
//! proxy.

mod tickets;

use midge_access::lockout::Network;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use midge_transport::ServerLayers;
use midge_transport::proxy::{ProxiedClient, ProxyHeader};
use midge_transport::tls::{
    AlternativeName, CertificateInfo, ClientCertificates, DefaultTimeProvider, Expires, KeyLogger,
    PemFile, ServerCertificate, ServerTls, ServerTlsOptions, TicketKeys, Tls,
};
use midge_transport::websocket::{Request, UpgradeOptions};

use crate::access::files::{self, Stamp};
use crate::config::{CertificateName, Config, General, ListenerSettings, Protocol};

pub(crate) use tickets::Tickets;

/// A PROXY header of version 2 may have so many bytes.
const PROXY_BYTES_MAX: usize = 2_048;

/// Files of a `capath`, at most.
const CAPATH_FILES_MAX: usize = 10_000;

/// The longest user name that MQTT knows.
const USER_NAME_BYTES_MAX: usize = 65_535;

/// What all listeners share for TLS.
#[derive(Clone)]
pub(crate) struct TlsShared {
    pub(crate) tickets: Arc<TicketKeys>,
    pub(crate) key_logger: Option<KeyLogger>,
}

/// What the connections of a listener are wrapped in.
pub(crate) struct Wrapping {
    pub(crate) layers: ServerLayers,
    certificate_name: Option<CertificateName>,
    require_proxied_tls: bool,
    require_proxied_certificate: bool,
    forwarded: Option<midge_transport::websocket::ForwardedHeader>,
    trusted_proxies: Vec<Network>,
}

/// A wrapping with the files that it was made from.
pub(crate) struct Loaded {
    /// `None` for plain MQTT.
    pub(crate) wrapping: Option<Arc<Wrapping>>,
    /// To notice changes.
    stamps: Vec<(PathBuf, Option<Stamp>)>,
    /// What the files have in them that does not last.
    pub(crate) expires: Vec<Expires>,
    /// What is to be told the operator.
    pub(crate) warnings: Vec<String>,
}

impl TlsShared {
    /// Tickets without keys yet, and the file for the secrets of connections, if one is wanted.
    ///
    /// # Errors
    /// What is to be told the operator about the file.
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let key_logger = match &config.tls_keylog {
            None => None,
            Some(path) => Some(key_log(path)?),
        };
        Ok(Self {
            tickets: Arc::new(TicketKeys::new(&[], Tickets::LIFETIME_SECS)),
            key_logger,
        })
    }
}

/// Appends the secrets of connections to a file for its owner alone.
fn key_log(path: &Path) -> Result<KeyLogger, String> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| {
            format!(
                "Error: Unable to open TLS key log \"{}\": {error}.",
                path.display()
            )
        })?;
    Ok(Arc::new(move |line: &str| {
        // One write, so that the lines of several threads do not mix. Nobody can be told of a failure.
        let _ = (&file).write_all(format!("{line}\n").as_bytes());
    }))
}

impl Loaded {
    /// Whether connections come through a proxy that tells where they are from.
    pub(crate) fn is_proxied(&self) -> bool {
        let wrapping = self.wrapping.as_ref();
        wrapping.is_some_and(|wrapping| wrapping.layers.proxy.is_some())
    }

    /// Reads what the listener's options name.
    ///
    /// # Errors
    /// What is to be told the operator, with the file.
    pub(crate) fn load(
        settings: &ListenerSettings,
        general: &General,
        shared: &TlsShared,
    ) -> Result<Self, String> {
        let mut loaded = Self {
            wrapping: None,
            stamps: Vec::new(),
            expires: Vec::new(),
            warnings: Vec::new(),
        };
        let layers = ServerLayers {
            proxy: settings
                .proxy_protocol
                .map(|version| (version, PROXY_BYTES_MAX)),
            tls: loaded.tls(settings, shared)?,
            websocket: (settings.protocol == Protocol::WebSockets).then(|| {
                Arc::new(UpgradeOptions {
                    head_bytes_max: general.websockets_head_bytes(),
                    path: settings.websockets_path.clone(),
                    origins: settings.websockets_origins.clone(),
                })
            }),
        };
        let is_plain = layers.proxy.is_none() && layers.tls.is_none() && layers.websocket.is_none();
        loaded.wrapping = (!is_plain).then(|| {
            Arc::new(Wrapping {
                certificate_name: settings.certificate_name(),
                require_proxied_tls: settings.proxy_protocol_v2_require_tls,
                require_proxied_certificate: settings.require_certificate && layers.tls.is_none(),
                forwarded: settings.websockets_forwarded_header,
                trusted_proxies: settings.websockets_trusted_proxies.clone(),
                layers,
            })
        });
        Ok(loaded)
    }

    fn tls(
        &mut self,
        settings: &ListenerSettings,
        shared: &TlsShared,
    ) -> Result<Option<Arc<ServerTls>>, String> {
        if let Some(hint) = &settings.psk_hint {
            return self.keys(settings, hint, shared).map(Some);
        }
        let (Some(certificate), Some(key)) = (&settings.certfile, &settings.keyfile) else {
            return Ok(None);
        };
        let mut pairs = vec![(
            self.read("certfile", certificate)?,
            self.read("keyfile", key)?,
        )];
        for (certificate, key) in &settings.additional_certificates {
            pairs.push((
                self.read("additional_certificate", certificate)?,
                self.read("additional_certificate", key)?,
            ));
        }
        let mut cas = Vec::new();
        if let Some(path) = &settings.cafile {
            cas.push(self.read("cafile", path)?);
        }
        if let Some(path) = &settings.capath {
            self.read_directory(path, &mut cas)?;
        }
        let mut lists = Vec::new();
        if let Some(path) = &settings.crlfile {
            lists.push(self.read("crlfile", path)?);
        }
        let cas: Vec<_> = cas.iter().map(Text::as_pem).collect();
        let lists: Vec<_> = lists.iter().map(Text::as_pem).collect();
        let certificates: Vec<_> = pairs
            .iter()
            .map(|(chain, key)| ServerCertificate {
                chain: chain.as_pem(),
                key: key.as_pem(),
            })
            .collect();
        let mut options = ServerTlsOptions::new(
            &certificates,
            Arc::clone(&shared.tickets),
            Arc::new(DefaultTimeProvider),
        );
        options.client_certificates = if settings.require_certificate {
            ClientCertificates::Required
        } else if settings.certificate_name().is_some() {
            ClientCertificates::Optional
        } else {
            ClientCertificates::NotAsked
        };
        options.client_cas = &cas;
        options.revocation_lists = &lists;
        options.ignore_client_dates = settings.disable_client_cert_date_checks;
        options.oldest_version = settings.tls_version;
        options.ciphers = settings.ciphers.as_deref();
        options.ciphers_tls13 = settings.ciphers_tls13.as_deref();
        options.key_logger.clone_from(&shared.key_logger);
        let tls = ServerTls::new(&options).map_err(|error| format!("Error: {error}."))?;
        self.expires = tls.expires().to_vec();
        if !tls.unavailable_ciphers().is_empty() {
            self.warnings.push(format!(
                "Warning: These ciphers are not available and were left out: {}.",
                tls.unavailable_ciphers().join(", ")
            ));
        }
        Ok(Some(Arc::new(tls)))
    }

    /// TLS with the keys of the listener's `psk_file`.
    #[cfg(feature = "tls-psk")]
    fn keys(
        &mut self,
        settings: &ListenerSettings,
        hint: &str,
        shared: &TlsShared,
    ) -> Result<Arc<ServerTls>, String> {
        use midge_transport::tls::{PskKeys, PskOptions};
        let path = settings
            .psk_file
            .as_deref()
            .unwrap_or_else(|| Path::new(""));
        let file = self.read("psk_file", path)?;
        let (keys, faults) = PskKeys::parse(&file.bytes);
        let name = &file.name;
        for (line, fault) in &faults.list {
            self.warnings
                .push(format!("Warning: psk_file {name}:{line}: {fault}."));
        }
        if faults.more > 0 {
            let text = format!("Warning: psk_file {name}: and {} lines more.", faults.more);
            self.warnings.push(text);
        }
        if keys.is_empty() {
            let text = format!("Warning: psk_file {name} has no key, so nobody can connect.");
            self.warnings.push(text);
        }
        let tls = ServerTls::with_keys(PskOptions {
            keys,
            hint,
            oldest_version: settings.tls_version,
            ciphers: settings.ciphers.as_deref(),
            ciphers_tls13: settings.ciphers_tls13.as_deref(),
            key_logger: shared.key_logger.clone(),
        })
        .map_err(|error| format!("Error: {error}."))?;
        Ok(Arc::new(tls))
    }

    /// The configuration refuses such listeners of a build that cannot serve them.
    #[cfg(not(feature = "tls-psk"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    fn keys(
        &mut self,
        _: &ListenerSettings,
        _: &str,
        _: &TlsShared,
    ) -> Result<Arc<ServerTls>, String> {
        Err("Error: this build of Midge has no TLS with pre-shared keys.".to_owned())
    }

    fn read(&mut self, what: &str, path: &Path) -> Result<Text, String> {
        let (bytes, stamp) = files::read(what, path)?;
        self.stamps.push((path.to_owned(), Some(stamp)));
        Ok(Text {
            name: path.display().to_string(),
            bytes,
        })
    }

    /// Reads the files of a directory whose names are hashes, as `openssl rehash` makes them.
    fn read_directory(&mut self, path: &Path, cas: &mut Vec<Text>) -> Result<(), String> {
        let name = path.display();
        let fail =
            |error: std::io::Error| format!("Error: Unable to open capath \"{name}\": {error}.");
        // First, so that what is added meanwhile is noticed.
        self.stamps.push((path.to_owned(), Stamp::look(path)));
        let mut found = Vec::new();
        for entry in fs::read_dir(path).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if is_hash_name(&entry.file_name().to_string_lossy()) {
                found.push(entry.path());
            }
            if found.len() > CAPATH_FILES_MAX {
                return Err(format!(
                    "Error: capath \"{name}\" has more than {CAPATH_FILES_MAX} certificates."
                ));
            }
        }
        if found.is_empty() {
            return Err(format!(
                "Error: capath \"{name}\" has no file that is named like a hash, as 1a2b3c4d.0. Make \
                 them with 'openssl rehash {name}'."
            ));
        }
        found.sort_unstable();
        for path in found {
            cas.push(self.read("capath", &path)?);
        }
        Ok(())
    }

    /// Whether a file has changed since it was read.
    pub(crate) fn is_stale(&self) -> bool {
        self.stamps
            .iter()
            .any(|(path, stamp)| Stamp::look(path) != *stamp)
    }

    /// Notes that the files have been looked at, though they could not be used.
    pub(crate) fn restamp(&mut self) {
        for (path, stamp) in &mut self.stamps {
            *stamp = Stamp::look(path);
        }
    }
}

/// The text of a file.
struct Text {
    name: String,
    bytes: Vec<u8>,
}

impl Text {
    fn as_pem(&self) -> PemFile<'_> {
        PemFile {
            name: &self.name,
            text: &self.bytes,
        }
    }
}

/// Whether a file is named as OpenSSL looks for it: eight hexadecimal digits, a dot, a number.
fn is_hash_name(name: &str) -> bool {
    name.split_once('.').is_some_and(|(hash, number)| {
        hash.len() == 8
            && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

impl Wrapping {
    /// Whether a client may come through its proxy, and from where it comes.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn judge_proxied(&self, header: &ProxyHeader) -> Result<Option<SocketAddr>, String> {
        if self.require_proxied_tls && header.tls.is_none() {
            let why =
                "the client does not reach the proxy over TLS (proxy_protocol_v2_require_tls)";
            return Err(why.to_owned());
        }
        let has_certificate =
            |tls: &midge_transport::proxy::ProxiedTls| tls.certificate && tls.verified;
        if self.require_proxied_certificate && !header.tls.as_ref().is_some_and(has_certificate) {
            let why = "the client showed the proxy no good certificate (require_certificate)";
            return Err(why.to_owned());
        }
        Ok(match &header.client {
            ProxiedClient::Address { source, .. } => Some(*source),
            ProxiedClient::Unnamed | ProxiedClient::Unix { .. } => None,
        })
    }

    /// Where a request comes from, if proxies that are trusted say so.
    pub(crate) fn forwarded(
        &self,
        request: &Request,
        peer: Option<SocketAddr>,
    ) -> Option<SocketAddr> {
        let (header, peer) = (self.forwarded?, peer?);
        let is_trusted = |address| {
            self.trusted_proxies
                .iter()
                .any(|network| network.contains(address))
        };
        let client = request.client_address(header, peer.ip(), is_trusted);
        (client != peer.ip().to_canonical()).then(|| SocketAddr::new(client, 0))
    }

    /// Whether the handshake judges a pre-shared key.
    pub(crate) fn uses_keys(&self) -> bool {
        let tls = self.layers.tls.as_ref();
        tls.is_some_and(|tls| tls.uses_keys())
    }

    /// The user name in the client's certificate, or the identity of its key, or in what the proxy says of it.
    pub(crate) fn user_name(&self, tls: Option<&Tls>, proxied: Option<&str>) -> Option<Arc<str>> {
        let kind = self.certificate_name?;
        let name = match tls {
            Some(tls) => match tls.identity() {
                Some(identity) => Some(identity.to_owned()),
                None => certificate_name(kind, &tls.peer_certificate()?.ok()?),
            },
            None => proxied
                .filter(|_| kind == CertificateName::Common)
                .map(ToOwned::to_owned),
        };
        name.filter(|name| is_user_name(name)).map(Into::into)
    }
}

fn certificate_name(kind: CertificateName, certificate: &CertificateInfo) -> Option<String> {
    let mut names = certificate.alternative_names.iter();
    match kind {
        CertificateName::Common => certificate.common_name.clone(),
        CertificateName::Subject => Some(certificate.subject.clone()),
        CertificateName::Dns => names.find_map(|name| match name {
            AlternativeName::Dns(name) => Some(name.clone()),
            _ => None,
        }),
        CertificateName::Email => names.find_map(|name| match name {
            AlternativeName::Email(name) => Some(name.clone()),
            _ => None,
        }),
        CertificateName::Uri => names.find_map(|name| match name {
            AlternativeName::Uri(name) => Some(name.clone()),
            _ => None,
        }),
    }
}

/// Whether a name from a certificate may be a user name in MQTT.
fn is_user_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= USER_NAME_BYTES_MAX && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests;
