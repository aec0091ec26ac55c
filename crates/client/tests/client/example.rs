// What stands around the examples of the guide: a broker, a runtime, and a time limit.

use broker::Broker;

mod broker {
    include!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/client/broker.rs"
    ));
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn run<F: Future<Output = Outcome>>(example: impl FnOnce(Broker) -> F) {
    run_with(Broker::start(), example);
}

fn run_with<F: Future<Output = Outcome>>(broker: Broker, example: impl FnOnce(Broker) -> F) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let limit = std::time::Duration::from_secs(60);
        let result = tokio::time::timeout(limit, example(broker)).await;
        result.expect("the example comes to its end").unwrap();
    });
}

/// A folder with `ca.pem`, and `me.pem` with `me.key`; a broker that wants such a certificate, and its URL.
fn secure() -> (tempfile::TempDir, Broker, String) {
    use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    write("ca.pem", ca.pem());
    for name in ["me", "broker"] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        write(&format!("{name}.pem"), params.signed_by(&key, &ca).unwrap().pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
    let (at, port) = (folder.path().display(), broker::free_port());
    let lines = format!(
        "listener {port} 127.0.0.1\ncertfile {at}/broker.pem\nkeyfile {at}/broker.key\n\
         cafile {at}/ca.pem\nrequire_certificate true"
    );
    let broker = Broker::with(&lines);
    (folder, broker, format!("mqtts://localhost:{port}"))
}

/// An OAuth provider: a broker that believes its tokens, and a function that makes one for as many seconds.
fn provider() -> (Broker, impl Fn(u64) -> String + Clone + Send + Sync + 'static) {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use rcgen::SigningKey as _;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let folder = tempfile::tempdir().unwrap().keep();
    let file = folder.join("provider.pem");
    std::fs::write(&file, key.public_key_pem()).unwrap();
    let broker = Broker::strict(&format!(
        "oauth_key_file {}\noauth_audience broker\noauth_leeway 0",
        file.display()
    ));
    let key = std::sync::Arc::new(key);
    let token = move |seconds: u64| {
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let claims = format!(r#"{{"sub":"alice","aud":"broker","exp":{}}}"#, now + seconds);
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let head = encode(br#"{"alg":"EdDSA"}"#);
        let signed = format!("{head}.{}", encode(claims.as_bytes()));
        let signature = key.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(&signature))
    };
    (broker, token)
}

/// A transport of `embedded-io-async` to the broker.
struct Socket(tokio::net::TcpStream);

impl Socket {
    async fn to(port: u16) -> std::io::Result<Self> {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map(Self)
    }
}

impl midge_embedded::embedded_io_async::ErrorType for Socket {
    type Error = midge_embedded::embedded_io_async::ErrorKind;
}

/// Which one it was is of no use to an example.
fn other(_: std::io::Error) -> midge_embedded::embedded_io_async::ErrorKind {
    midge_embedded::embedded_io_async::ErrorKind::Other
}

impl midge_embedded::embedded_io_async::Read for Socket {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Self::Error> {
        tokio::io::AsyncReadExt::read(&mut self.0, buffer).await.map_err(other)
    }
}

impl midge_embedded::embedded_io_async::Write for Socket {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        tokio::io::AsyncWriteExt::write(&mut self.0, bytes).await.map_err(other)
    }

    async fn flush(&mut self) -> Result<(), Self::Error> {
        tokio::io::AsyncWriteExt::flush(&mut self.0).await.map_err(other)
    }
}
