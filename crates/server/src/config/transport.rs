//! Options of TLS, WebSocket and the PROXY protocol, and what they need of each other.

use midge_transport::proxy::ProxyVersion;
use midge_transport::tls::{PSK_IS_BUILT_IN, TlsVersion};
use midge_transport::websocket::ForwardedHeader;

use super::draft::{Draft, ListenerDraft, not_yet};
use super::error::{ConfigError, EXIT_CONFIG};
use super::value::{Args, Fault};
use super::{CertificateName, NoteLevel, Protocol};
use midge_access::lockout::Network;

/// `additional_certificate <certfile> <keyfile>`, once for each.
pub(super) fn additional_certificate(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    let pair = (args.word()?.into(), args.word()?.into());
    draft
        .listener()?
        .settings
        .additional_certificates
        .push(pair);
    Ok(())
}

/// `psk_hint <hint>`.
pub(super) fn psk_hint(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    args.text_once(&mut draft.listener()?.settings.psk_hint)
}

/// `tls_version tlsv1.2` or `tlsv1.3`.
pub(super) fn tls_version(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    draft.listener()?.settings.tls_version = match args.word()? {
        "tlsv1.2" => TlsVersion::V12,
        "tlsv1.3" => TlsVersion::V13,
        other => return Err(args.invalid(other)),
    };
    Ok(())
}

/// `tls_keyform pem`.
pub(super) fn tls_keyform(_: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    match args.word()? {
        "pem" => Ok(()),
        "engine" => Err(not_yet("tls_keyform engine", "engines of OpenSSL")),
        other => Err(args.invalid(other)),
    }
}

/// `use_san_as_username dns`, `email` or `uri`.
pub(super) fn use_san_as_username(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    let name = match args.word()? {
        "dns" => CertificateName::Dns,
        "email" => CertificateName::Email,
        "uri" => CertificateName::Uri,
        other => return Err(args.invalid(other)),
    };
    draft.listener()?.settings.use_san_as_username = Some(name);
    Ok(())
}

/// `enable_proxy_protocol 1` or `2`.
pub(super) fn enable_proxy_protocol(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    let version = match args.number()? {
        1 => ProxyVersion::V1,
        _ => ProxyVersion::V2,
    };
    draft.listener()?.settings.proxy_protocol = Some(version);
    Ok(())
}

/// `websockets_origin <site>`, once for each.
pub(super) fn websockets_origin(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    let origin = args.text()?.to_owned();
    draft.listener()?.settings.websockets_origins.push(origin);
    Ok(())
}

/// `websockets_path <path>`.
pub(super) fn websockets_path(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    let path = args.text()?;
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    draft.listener()?.settings.websockets_path = Some(path);
    Ok(())
}

/// `websockets_forwarded_header x-forwarded-for` or `forwarded`.
pub(super) fn websockets_forwarded_header(
    draft: &mut Draft,
    args: &mut Args<'_>,
) -> Result<(), Fault> {
    let header = match args.word()? {
        "x-forwarded-for" => ForwardedHeader::XForwardedFor,
        "forwarded" => ForwardedHeader::Forwarded,
        other => return Err(args.invalid(other)),
    };
    draft.listener()?.settings.websockets_forwarded_header = Some(header);
    Ok(())
}

/// `websockets_trusted_proxy <network>`, once for each.
pub(super) fn websockets_trusted_proxy(
    draft: &mut Draft,
    args: &mut Args<'_>,
) -> Result<(), Fault> {
    let word = args.word()?;
    let network = word.parse::<Network>().map_err(|_| args.invalid(word))?;
    draft
        .listener()?
        .settings
        .websockets_trusted_proxies
        .push(network);
    Ok(())
}

impl ListenerDraft {
    /// What is missing for these options to do what they say: message and way out. A listener that is
    /// open where the operator thinks it closed must not be.
    fn transport_fault(&self, has_psk_file: bool) -> Option<(&'static str, &'static str)> {
        let settings = &self.settings;
        if settings.psk_hint.is_some() {
            return self.psk_fault(has_psk_file);
        }
        let proxy2 = settings.proxy_protocol == Some(ProxyVersion::V2);
        let names = settings.certificate_name();
        let from_proxy = proxy2 && matches!(names, None | Some(CertificateName::Common));
        if settings.certfile.is_some() && settings.keyfile.is_none() {
            return Some((
                "Error: 'certfile' is set without 'keyfile'.",
                "TLS needs both; add the file with the private key",
            ));
        }
        if settings.keyfile.is_some() && settings.certfile.is_none() {
            return Some((
                "Error: 'keyfile' is set without 'certfile'.",
                "TLS needs both; add the file with the certificate",
            ));
        }
        if settings.has_tls() || from_proxy {
            let has_cas = settings.cafile.is_some() || settings.capath.is_some();
            let asks = settings.require_certificate || names.is_some();
            if settings.has_tls() && asks && !has_cas {
                return Some((
                    "Error: Client certificates are asked for without 'cafile' or 'capath'.",
                    "add the certificates of those who sign client certificates",
                ));
            }
        } else if names.is_some() {
            return Some((
                "Error: The user name is to come from a certificate, on a listener without TLS.",
                "add 'certfile', 'keyfile' and 'cafile'; the common name may also come with \
                 'enable_proxy_protocol 2'",
            ));
        } else if settings.require_certificate {
            return Some((
                "Error: 'require_certificate' is set on a listener without TLS.",
                "add 'certfile', 'keyfile' and 'cafile', or 'enable_proxy_protocol 2'",
            ));
        }
        if settings.proxy_protocol_v2_require_tls && !proxy2 {
            return Some((
                "Error: 'proxy_protocol_v2_require_tls' is set without 'enable_proxy_protocol 2'.",
                "only version 2 tells whether the client uses TLS",
            ));
        }
        let has_proxies = !settings.websockets_trusted_proxies.is_empty();
        if settings.websockets_forwarded_header.is_some() != has_proxies {
            return Some((
                "Error: 'websockets_forwarded_header' and 'websockets_trusted_proxy' need each other.",
                "set both, or none",
            ));
        }
        None
    }

    /// The same for pre-shared keys.
    fn psk_fault(&self, has_psk_file: bool) -> Option<(&'static str, &'static str)> {
        let settings = &self.settings;
        if !PSK_IS_BUILT_IN {
            return Some((
                "Error: 'psk_hint' needs TLS with pre-shared keys, which this build of Midge does not have.",
                "build it with 'cargo build --release -p midge --features tls-psk', which needs \
                 Debian's libssl-dev and pkg-config, or use certificates",
            ));
        }
        if settings.certfile.is_some() || settings.keyfile.is_some() {
            return Some((
                "Error: 'psk_hint' is set on a listener with a certificate.",
                "use a listener for each; a connection has either certificates or pre-shared keys",
            ));
        }
        if settings.require_certificate {
            return Some((
                "Error: 'require_certificate' is set on a listener for pre-shared keys.",
                "remove it; clients without a key of 'psk_file' do not come in anyway",
            ));
        }
        if !matches!(
            settings.certificate_name(),
            None | Some(CertificateName::Common)
        ) {
            return Some((
                "Error: The user name is to come from a certificate, on a listener for pre-shared keys.",
                "'use_identity_as_username' makes it the identity of the key",
            ));
        }
        if !has_psk_file {
            return Some((
                "Error: 'psk_hint' is set without 'psk_file'.",
                "add the file with identities and keys",
            ));
        }
        None
    }

    /// Options that do nothing on this listener.
    fn idle_transport_options(&self) -> Vec<&'static str> {
        let settings = &self.settings;
        let mut idle = Vec::new();
        if !settings.has_certificate() {
            let set = [
                (
                    !settings.additional_certificates.is_empty(),
                    "additional_certificate",
                ),
                (settings.cafile.is_some(), "cafile"),
                (settings.capath.is_some(), "capath"),
                (settings.crlfile.is_some(), "crlfile"),
            ];
            idle.extend(set.iter().filter(|(set, _)| *set).map(|(_, name)| *name));
        }
        if !settings.has_tls() {
            let set = [
                (settings.ciphers.is_some(), "ciphers"),
                (settings.ciphers_tls13.is_some(), "ciphers_tls1.3"),
            ];
            idle.extend(set.iter().filter(|(set, _)| *set).map(|(_, name)| *name));
        }
        if settings.protocol != Protocol::WebSockets {
            let set = [
                (!settings.websockets_origins.is_empty(), "websockets_origin"),
                (settings.websockets_path.is_some(), "websockets_path"),
                (
                    settings.websockets_forwarded_header.is_some(),
                    "websockets_forwarded_header",
                ),
            ];
            idle.extend(set.iter().filter(|(set, _)| *set).map(|(_, name)| *name));
        }
        idle
    }
}

impl Draft {
    /// Refuses listeners that would be less closed than their options say, and tells of options that do
    /// nothing.
    pub(super) fn check_transports(&mut self) {
        let mut warnings = Vec::new();
        for listener in &self.listeners {
            let (file, line) = listener.place.clone();
            let keys = listener.security.psk_file.as_ref();
            let has_psk_file = keys.or(self.general_security.psk_file.as_ref()).is_some();
            if let Some((message, hint)) = listener.transport_fault(has_psk_file) {
                self.errors.push(ConfigError {
                    file: file.clone(),
                    line,
                    message: message.to_owned(),
                    hint: hint.to_owned(),
                    exit_code: EXIT_CONFIG,
                });
            }
            let mut idle = listener.idle_transport_options();
            if listener.security.psk_file.is_some() && listener.settings.psk_hint.is_none() {
                idle.push("psk_file");
            }
            for name in idle {
                let needs = match name {
                    "psk_file" => "'psk_hint'",
                    name if name.starts_with("websockets") => "'protocol websockets'",
                    _ => "'certfile' and 'keyfile'",
                };
                let text = format!("Warning: '{name}' has no effect without {needs}.");
                warnings.push(((file.clone(), line), text));
            }
        }
        for (place, text) in warnings {
            self.note_at(place, NoteLevel::Warning, text);
        }
    }
}

#[cfg(test)]
mod tests;
