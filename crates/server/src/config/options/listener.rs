//! Options of one listener.

use super::Scope::{Listener, ListenerOrDefault, NamedListener};
use super::ValueType::{Flag, Form, Text, Word};
use super::{OptionDef, Reload, at_least, number};
use crate::config::forms::{
    accept_protocol_versions, bind_address, bind_interface, listener, max_topic_alias, mount_point,
    port, protocol, socket_domain,
};
use crate::config::transport::{
    additional_certificate, enable_proxy_protocol, psk_hint, tls_keyform, tls_version,
    use_san_as_username, websockets_forwarded_header, websockets_origin, websockets_path,
    websockets_trusted_proxy,
};

const ENGINE: &str = "engines of OpenSSL";
const HTTP: &str = "the HTTP API";

pub(super) static OPTIONS: &[OptionDef] = &[
    OptionDef::new(
        "accept_protocol_versions",
        NamedListener,
        Form("a list of 3 (MQTT 3.1), 4 (MQTT 3.1.1) and 5 (MQTT 5.0), as in 4, 5"),
        "3, 4, 5",
        "The protocol versions that clients of this listener may use.",
    )
    .reads(accept_protocol_versions),
    OptionDef::new(
        "additional_certificate",
        Listener,
        Form("<certfile> <keyfile>"),
        "",
        "Another certificate and its key, for clients that ask for a host that is in it and not in \
         certfile (SNI).",
    )
    .by_midge()
    .adds()
    .reads(additional_certificate),
    OptionDef::new(
        "bind_address",
        super::Scope::General,
        Text,
        "",
        "The address of the default listener.",
    )
    .called("default listener bind_address")
    .once()
    .deprecated("Please use 'listener <port> <address>' instead.")
    .on_reload(Reload::Reopens)
    .reads(bind_address),
    OptionDef::new(
        "bind_interface",
        ListenerOrDefault,
        Text,
        "",
        "The network interface that this listener is bound to; needs the right to do so \
         (CAP_NET_RAW).",
    )
    .once()
    .on_reload(Reload::Reopens)
    .reads(bind_interface),
    OptionDef::new(
        "cafile",
        Listener,
        Text,
        "",
        "The file with the certificates of the authorities that client certificates are checked \
         against.",
    )
    .reads(|draft, args| {
        draft.listener()?.settings.cafile = Some(args.text()?.into());
        Ok(())
    }),
    OptionDef::new(
        "capath",
        ListenerOrDefault,
        Text,
        "",
        "The directory with the certificates of the authorities that client certificates are \
         checked against.",
    )
    .reads(|draft, args| {
        draft.listener()?.settings.capath = Some(args.text()?.into());
        Ok(())
    }),
    OptionDef::new(
        "certfile",
        ListenerOrDefault,
        Text,
        "",
        "The file with the certificate of this listener and its chain.",
    )
    .reads(|draft, args| {
        draft.listener()?.settings.certfile = Some(args.text()?.into());
        Ok(())
    }),
    OptionDef::new(
        "ciphers",
        ListenerOrDefault,
        Text,
        "",
        "The ciphers of TLS 1.2, in the manner of OpenSSL.",
    )
    .reads(|draft, args| {
        draft.listener()?.settings.ciphers = Some(args.text()?.into());
        Ok(())
    }),
    OptionDef::new(
        "ciphers_tls1.3",
        ListenerOrDefault,
        Text,
        "",
        "The ciphers of TLS 1.3, in the manner of OpenSSL.",
    )
    .reads(|draft, args| {
        draft.listener()?.settings.ciphers_tls13 = Some(args.text()?.into());
        Ok(())
    }),
    OptionDef::new(
        "crlfile",
        ListenerOrDefault,
        Text,
        "",
        "The file with certificates that have been revoked.",
    )
    .reads(|draft, args| {
        draft.listener()?.settings.crlfile = Some(args.text()?.into());
        Ok(())
    }),
    OptionDef::new(
        "dhparamfile",
        super::Scope::General,
        Form("anything"),
        "",
        "Once the file with Diffie-Hellman parameters.",
    )
    .accepted("it is no longer required"),
    OptionDef::new(
        "disable_client_cert_date_checks",
        Listener,
        Flag,
        "false",
        "Whether client certificates are accepted before and after their time.",
    )
    .reads(|draft, args| {
        draft.listener()?.settings.disable_client_cert_date_checks = args.flag()?;
        Ok(())
    }),
    OptionDef::new(
        "enable_proxy_protocol",
        Listener,
        number(1, 2),
        "",
        "The version of the PROXY protocol that connections begin with.",
    )
    .refuses("Error: enable_proxy_protocol must be 1 or 2.")
    .reads(enable_proxy_protocol),
    OptionDef::new(
        "http_dir",
        Listener,
        Text,
        "",
        "The directory whose files are served over HTTP.",
    )
    .later(HTTP),
    OptionDef::new(
        "keyfile",
        ListenerOrDefault,
        Text,
        "",
        "The file with the private key of certfile.",
    )
    .reads(|draft, args| {
        draft.listener()?.settings.keyfile = Some(args.text()?.into());
        Ok(())
    }),
    OptionDef::new(
        "listener",
        super::Scope::General,
        Form("<port> [<address or host name>], or 0 <path of a unix socket>"),
        "1883 on 127.0.0.1 and ::1",
        "Opens a port or a unix socket for clients; the options of listeners that follow describe \
         it.",
    )
    .called("listener port")
    .adds()
    .on_reload(Reload::Reopens)
    .reads(listener),
    OptionDef::new(
        "max_connections",
        ListenerOrDefault,
        at_least(-1),
        "-1",
        "How many clients may be connected to this listener at a time; 0 and -1 set no limit.",
    )
    .reads(|draft, args| {
        draft.listener()?.settings.max_connections = args.limit()?;
        Ok(())
    }),
    OptionDef::new(
        "max_qos",
        ListenerOrDefault,
        number(0, 2),
        "2",
        "The highest QoS that clients of this listener may use.",
    )
    .also(&["maximum_qos"])
    .refuses("Error: 'max_qos' must be between 0 and 2 inclusive.")
    .reads(|draft, args| {
        draft.listener()?.settings.max_qos = args.integer()?;
        Ok(())
    }),
    OptionDef::new(
        "max_topic_alias",
        Listener,
        number(0, 65_535),
        "10",
        "Topic aliases that a client may use; 0 forbids them.",
    )
    .refuses("Error: Invalid 'max_topic_alias' value in configuration.")
    .reads(|draft, args| max_topic_alias(args, &mut draft.listener()?.settings.max_topic_alias)),
    OptionDef::new(
        "max_topic_alias_broker",
        Listener,
        number(0, 65_535),
        "10",
        "Topic aliases that the broker uses towards a client that allows them; 0 uses none.",
    )
    .refuses("Error: Invalid 'max_topic_alias_broker' value in configuration.")
    .reads(|draft, args| {
        max_topic_alias(args, &mut draft.listener()?.settings.max_topic_alias_broker)
    }),
    OptionDef::new(
        "mount_point",
        Listener,
        Text,
        "",
        "A text that is put before every topic of the clients of this listener, without them \
         seeing it.",
    )
    .reads(mount_point),
    OptionDef::new(
        "port",
        super::Scope::General,
        number(1, 65_535),
        "1883",
        "The port of the default listener.",
    )
    .deprecated("Please use 'listener' instead.")
    .on_reload(Reload::Reopens)
    .reads(port),
    OptionDef::new(
        "protocol",
        ListenerOrDefault,
        Word(&["mqtt", "websockets"]),
        "mqtt",
        "What is spoken on this listener.",
    )
    .reads(protocol),
    OptionDef::new(
        "proxy_protocol_v2_require_tls",
        Listener,
        Flag,
        "false",
        "Whether connections are refused that did not reach the proxy over TLS.",
    )
    .reads(|draft, args| {
        draft.listener()?.settings.proxy_protocol_v2_require_tls = args.flag()?;
        Ok(())
    }),
    OptionDef::new(
        "psk_hint",
        ListenerOrDefault,
        Text,
        "",
        "The hint for clients that use pre-shared keys in the place of certificates, and the switch for \
         them. Needs psk_file, and a build with the feature tls-psk.",
    )
    .once()
    .reads(psk_hint),
    OptionDef::new(
        "require_certificate",
        ListenerOrDefault,
        Flag,
        "false",
        "Whether clients must show a certificate.",
    )
    .reads(|draft, args| {
        draft.listener()?.settings.require_certificate = args.flag()?;
        Ok(())
    }),
    OptionDef::new(
        "socket_domain",
        ListenerOrDefault,
        Word(&["ipv4", "ipv6"]),
        "both",
        "The only address family that this listener opens.",
    )
    .on_reload(Reload::Reopens)
    .reads(socket_domain),
    OptionDef::new(
        "tls_engine",
        ListenerOrDefault,
        Text,
        "",
        "The OpenSSL engine to use.",
    )
    .later(ENGINE),
    OptionDef::new(
        "tls_engine_kpass_sha1",
        ListenerOrDefault,
        Text,
        "",
        "The SHA-1 of the password of the engine's private key, in hexadecimal.",
    )
    .later(ENGINE),
    OptionDef::new(
        "tls_keyform",
        ListenerOrDefault,
        Word(&["pem", "engine"]),
        "pem",
        "What keyfile contains.",
    )
    .reads(tls_keyform),
    OptionDef::new(
        "tls_version",
        Listener,
        Word(&["tlsv1.2", "tlsv1.3"]),
        "",
        "The lowest version of TLS that clients may use.",
    )
    .reads(tls_version),
    OptionDef::new(
        "use_identity_as_username",
        ListenerOrDefault,
        Flag,
        "false",
        "Whether the common name of the certificate, or the identity of the pre-shared key, is \
         the user name.",
    )
    .reads(|draft, args| {
        draft.listener()?.settings.use_identity_as_username = args.flag()?;
        Ok(())
    }),
    OptionDef::new(
        "use_san_as_username",
        Listener,
        Word(&["dns", "email", "uri"]),
        "",
        "The kind of alternative name in the certificate of which the first is the user name.",
    )
    .by_midge()
    .reads(use_san_as_username),
    OptionDef::new(
        "use_subject_as_username",
        ListenerOrDefault,
        Flag,
        "false",
        "Whether the subject of the certificate is the user name.",
    )
    .reads(|draft, args| {
        draft.listener()?.settings.use_subject_as_username = args.flag()?;
        Ok(())
    }),
    OptionDef::new(
        "use_username_as_clientid",
        ListenerOrDefault,
        Flag,
        "false",
        "Whether the user name takes the place of the client identifier.",
    )
    .reads(|draft, args| {
        draft.listener()?.settings.use_username_as_clientid = args.flag()?;
        Ok(())
    }),
    OptionDef::new(
        "websockets_forwarded_header",
        Listener,
        Word(&["x-forwarded-for", "forwarded"]),
        "",
        "The header in which the proxies of websockets_trusted_proxy tell from where a WebSocket \
         client comes.",
    )
    .by_midge()
    .reads(websockets_forwarded_header),
    OptionDef::new(
        "websockets_origin",
        Listener,
        Text,
        "",
        "An origin from which WebSocket connections are accepted.",
    )
    .adds()
    .reads(websockets_origin),
    OptionDef::new(
        "websockets_path",
        Listener,
        Text,
        "",
        "The path that WebSocket clients have to ask for; any when absent.",
    )
    .by_midge()
    .reads(websockets_path),
    OptionDef::new(
        "websockets_trusted_proxy",
        Listener,
        Form("an address, or a network as in 192.0.2.0/24"),
        "",
        "A proxy that is believed in websockets_forwarded_header.",
    )
    .by_midge()
    .adds()
    .reads(websockets_trusted_proxy),
];
