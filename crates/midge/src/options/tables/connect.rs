//! The options about the connection, which the client tools share.

use super::{Group, Id, SESSION_EXPIRY, chosen, file, flag, valued};

/// Where to connect to and as whom.
pub(super) const CONNECT: Group = Group {
    title: "Broker",
    options: &[
        valued(
            Id::Host,
            &["-h", "--host"],
            "host",
            "-h argument given but no host specified.",
            "The broker's name or address. Defaults to localhost.",
        ),
        valued(
            Id::Port,
            &["-p", "--port"],
            "port",
            "-p argument given but no port specified.",
            "The broker's port. Defaults to 1883, with --cafile, --capath or --psk to 8883.",
        ),
        valued(
            Id::UserName,
            &["-u", "--username"],
            "name",
            "-u argument given but no username specified.",
            "The user name to connect with.",
        ),
        valued(
            Id::Password,
            &["-P", "--pw"],
            "password",
            "-P argument given but no password specified.",
            "The password to connect with.",
        ),
        chosen(
            Id::ProtocolVersion,
            &["-V", "--protocol-version"],
            ("version", &["mqttv5", "mqttv311", "mqttv31"]),
            "--protocol-version argument given but no version specified.",
            "The protocol version: mqttv5 (5), mqttv311 (311) or mqttv31 (31). Defaults to mqttv311, \
         with ctrl, rr and top to mqttv5.",
        ),
    ],
};

/// What carries the connection.
pub(super) const LINK: Group = Group {
    title: "Connection",
    options: &[
        valued(
            Id::Url,
            &["-L", "--url"],
            "url",
            "-L argument given but no URL specified.",
            "Host, port, user and topic in one: mqtt://user:password@host:port/topic. mqtts for TLS, ws \
         and wss for WebSocket.",
        ),
        valued(
            Id::BindAddress,
            &["-A"],
            "address",
            "-A argument given but no address specified.",
            "Connects from this address of this machine.",
        ),
        file(
            Id::Unix,
            &["--unix"],
            "path",
            "--unix argument given but no socket path specified.",
            "Connects to a Unix socket instead of a host.",
        ),
        flag(Id::WebSocket, &["--ws"], "Connects by WebSocket."),
        valued(
            Id::WebSocketPath,
            &["--ws-path"],
            "path",
            "--ws-path argument given but no path specified.",
            "The path that the WebSocket is asked for. Defaults to /mqtt.",
        ),
        valued(
            Id::Proxy,
            &["--proxy"],
            "url",
            "--proxy argument given but no proxy url specified.",
            "Connects through a SOCKS5 or HTTP proxy: socks5h://user:password@host:port or \
         http://host:port.",
        ),
        flag(
            Id::Srv,
            &["-S"],
            "Takes -h as a domain and goes to the brokers that its SRV records name: _mqtt._tcp.DOMAIN, with \
         TLS _secure-mqtt._tcp.DOMAIN. -p then does not count.",
        ),
        valued(
            Id::DnsServer,
            &["--dns-server"],
            "address",
            "--dns-server argument given but no address specified.",
            "With -S: asks this name server, an address or address:port, instead of those of \
         /etc/resolv.conf.",
        ),
        flag(
            Id::NoDelay,
            &["--nodelay"],
            "Accepted for compatibility: packets never wait for more to come.",
        ),
    ],
};

/// TLS.
pub(super) const TLS: Group = Group {
    title: "TLS",
    options: &[
        file(
            Id::CaFile,
            &["--cafile"],
            "file",
            "--cafile argument given but no file specified.",
            "TLS, with the certificate authorities of this file.",
        ),
        file(
            Id::CaPath,
            &["--capath"],
            "directory",
            "--capath argument given but no directory specified.",
            "TLS, with the certificate authorities of the files in this directory.",
        ),
        flag(
            Id::SystemCas,
            &["--tls-use-os-certs"],
            "TLS, with the certificate authorities that this machine trusts. So is port 8883.",
        ),
        flag(Id::NoTls, &["--no-tls"], "No TLS, whatever else is said."),
        file(
            Id::Certificate,
            &["--cert"],
            "file",
            "--cert argument given but no file specified.",
            "The client's certificate.",
        ),
        file(
            Id::Key,
            &["--key"],
            "file",
            "--key argument given but no file specified.",
            "The private key of the client's certificate.",
        ),
        flag(
            Id::Insecure,
            &["--insecure"],
            "Doesn't look for the host's name in the broker's certificate: any server of the authority \
         can then play the broker.",
        ),
        chosen(
            Id::TlsVersion,
            &["--tls-version"],
            ("version", &["tlsv1.3", "tlsv1.2"]),
            "--tls-version argument given but no version specified.",
            "The oldest version: tlsv1.3 or tlsv1.2. Defaults to tlsv1.2.",
        ),
        valued(
            Id::Ciphers,
            &["--ciphers"],
            "list",
            "--ciphers argument given but no ciphers specified.",
            "The ciphers of TLS 1.2, in OpenSSL's language.",
        ),
        valued(
            Id::TlsAlpn,
            &["--tls-alpn"],
            "protocol",
            "--tls-alpn argument given but no protocol specified.",
            "The protocol that TLS names.",
        ),
        file(
            Id::TlsKeylog,
            &["--tls-keylog"],
            "file",
            "--tls-keylog argument given but no file specified.",
            "Appends the secrets of the connection to a file, for Wireshark.",
        ),
        valued(
            Id::Psk,
            &["--psk"],
            "hex",
            "--psk argument given but no key specified.",
            "TLS with a key that the broker has too, in hexadecimal digits, in the place of certificates. \
         In builds with the feature tls-psk.",
        ),
        valued(
            Id::PskIdentity,
            &["--psk-identity"],
            "identity",
            "--psk-identity argument given but no identity specified.",
            "Whose key --psk is.",
        ),
        valued(
            Id::TlsEngine,
            &["--tls-engine"],
            "engine",
            "--tls-engine argument given but no engine_id specified.",
            "Refused: engines are OpenSSL's.",
        ),
        valued(
            Id::TlsEnginePassword,
            &["--tls-engine-kpass-sha1"],
            "hash",
            "--tls-engine-kpass-sha1 argument given but no kpass sha1 specified.",
            "Refused: engines are OpenSSL's.",
        ),
        chosen(
            Id::KeyForm,
            &["--keyform"],
            ("form", &["pem"]),
            "--keyform argument given but no keyform specified.",
            "The form of --key: pem.",
        ),
    ],
};

/// Tokens as passwords.
pub(super) const OAUTH: Group = Group {
    title: "Tokens (OAuth 2)",
    options: &[
        file(
            Id::OauthTokenFile,
            &["--oauth-token-file"],
            "file",
            "--oauth-token-file argument given but no file specified.",
            "The token to connect with is in this file; it is read anew for each connection.",
        ),
        valued(
            Id::OauthTokenUrl,
            &["--oauth-token-url"],
            "url",
            "--oauth-token-url argument given but no URL specified.",
            "Where the provider hands out tokens.",
        ),
        valued(
            Id::OauthDeviceUrl,
            &["--oauth-device-url"],
            "url",
            "--oauth-device-url argument given but no URL specified.",
            "Where the provider begins the device flow: you confirm the login in a browser, on this \
         machine or another. Without it, the client logs in by its secret (client credentials).",
        ),
        valued(
            Id::OauthClient,
            &["--oauth-client-id"],
            "id",
            "--oauth-client-id argument given but no id specified.",
            "The client that the provider knows.",
        ),
        file(
            Id::OauthSecretFile,
            &["--oauth-client-secret-file"],
            "file",
            "--oauth-client-secret-file argument given but no file specified.",
            "The file with that client's secret.",
        ),
        valued(
            Id::OauthScope,
            &["--oauth-scope"],
            "scopes",
            "--oauth-scope argument given but no scope specified.",
            "The scopes to ask for, with spaces between them.",
        ),
        valued(
            Id::OauthAudience,
            &["--oauth-audience"],
            "audience",
            "--oauth-audience argument given but no audience specified.",
            "The audience to ask for, where the provider wants one.",
        ),
        valued(
            Id::OauthResource,
            &["--oauth-resource"],
            "uri",
            "--oauth-resource argument given but no resource specified.",
            "The resource to ask for, where the provider wants one (RFC 8707).",
        ),
    ],
};

/// What pub, sub and rr say about their session.
pub(super) const SESSION: Group = Group {
    title: "Session, and everything else",
    options: &[
        valued(
            Id::SessionName,
            &["-i", "--id"],
            "id",
            "-i argument given but no id specified.",
            "The client id. Defaults to one that the broker chooses, in MQTT 3.1 to a random one.",
        ),
        valued(
            Id::SessionNamePrefix,
            &["-I", "--id-prefix"],
            "prefix",
            "-I argument given but no id prefix specified.",
            "Makes the client id from this prefix and the process id.",
        ),
        valued(
            Id::KeepAlive,
            &["-k", "--keepalive"],
            "seconds",
            "-k argument given but no keepalive specified.",
            "The keep alive, 5 to 65535 seconds. Defaults to 60.",
        ),
        flag(
            Id::CleanSessionOff,
            &["-c", "--disable-clean-session"],
            "Keeps the session and what is queued in it for the next connection; needs a client id.",
        ),
        SESSION_EXPIRY,
        valued(
            Id::MaxInflight,
            &["-M"],
            "count",
            "-M argument given but max_inflight not specified.",
            "How many messages may wait for their acknowledgement. Defaults to 20.",
        ),
        valued(
            Id::Property,
            &["-D", "--property"],
            "packet property value",
            "--property argument given but not enough arguments specified.",
            "An MQTT 5 property of a packet: -D publish content-type text/plain, -D connect \
         user-property name value. Packets: connect, publish, subscribe, unsubscribe, disconnect, \
         will. May be repeated. Implies -V 5.",
        ),
        valued(
            Id::WillTopic,
            &["--will-topic"],
            "topic",
            "--will-topic argument given but no will topic specified.",
            "The broker publishes the will to this topic when the connection is lost.",
        ),
        valued(
            Id::WillPayload,
            &["--will-payload"],
            "payload",
            "--will-payload argument given but no will payload specified.",
            "The will's payload. Defaults to an empty one.",
        ),
        chosen(
            Id::WillQoS,
            &["--will-qos"],
            ("qos", &["0", "1", "2"]),
            "--will-qos argument given but no will QoS specified.",
            "The will's quality of service. Defaults to 0.",
        ),
        flag(
            Id::WillRetain,
            &["--will-retain"],
            "The will is to be retained.",
        ),
        file(
            Id::OptionsFile,
            &["-o"],
            "file",
            "-o argument given but no options file specified.",
            "A file with an option and its value in each line. Defaults to mosquitto_pub, mosquitto_sub \
         or mosquitto_rr in $XDG_CONFIG_HOME or ~/.config. What the command line says counts more.",
        ),
        flag(
            Id::Debug,
            &["-d", "--debug"],
            "Prints each packet sent and received.",
        ),
        flag(
            Id::QosReport,
            &["--qos-report"],
            "At the end, says on the standard error what was acknowledged and how fast.",
        ),
        flag(Id::Quiet, &["--quiet"], "Prints no errors."),
        flag(Id::Version, &["--version"], "Prints the version."),
        flag(Id::Help, &["--help"], "Prints this text."),
    ],
};
