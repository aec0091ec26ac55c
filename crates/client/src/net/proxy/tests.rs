use tokio::io::duplex;

use super::*;
use crate::options::Options;

/// Lets a proxy with this URL pass us on to this broker, while its side is played from a list of what
/// it gets and what it answers. Gives what the client reads from the broker then.
fn play(proxy: &str, broker: &str, script: &[(&[u8], &[u8])]) -> Result<Vec<u8>, String> {
    let options = Options::new(broker).unwrap().proxy(proxy).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (mut ours, mut theirs) = duplex(4096);
        let playing = async {
            for (expected, answer) in script {
                let mut got = vec![0; expected.len()];
                theirs.read_exact(&mut got).await.unwrap();
                assert_eq!(&got, expected, "{:?}", String::from_utf8_lossy(&got));
                theirs.write_all(answer).await.unwrap();
            }
            drop(theirs);
        };
        let passing = async {
            pass(
                &mut ours,
                options.dialer.proxy.as_ref().unwrap(),
                &options.servers[0],
            )
            .await
            .map_err(|error| error.to_string())?;
            let mut rest = Vec::new();
            ours.read_to_end(&mut rest).await.unwrap();
            Ok(rest)
        };
        tokio::join!(playing, passing).1
    })
}

#[test]
fn socks5_by_name_and_by_address() {
    let rest = play(
        "socks5://proxy",
        "mqtt://broker.example:1884",
        &[
            (b"\x05\x01\x00", b"\x05\x00"),
            (
                b"\x05\x01\x00\x03\x0Ebroker.example\x07\x5C",
                b"\x05\x00\x00\x01\x01\x02\x03\x04\x00\x01first",
            ),
        ],
    );
    assert_eq!(rest.unwrap(), b"first");
    let rest = play(
        "socks5://proxy",
        "mqtt://[::1]",
        &[
            (b"\x05\x01\x00", b"\x05\x00"),
            (
                b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x07\x5B",
                b"\x05\x00\x00\x03\x01x\x00\x01",
            ),
        ],
    );
    assert_eq!(rest.unwrap(), b"");
}

#[test]
fn socks5_with_a_password() {
    let log_in: &[(&[u8], &[u8])] = &[
        (b"\x05\x02\x00\x02", b"\x05\x02"),
        (b"\x01\x01u\x02pw", b"\x01\x01"),
    ];
    let error = play("socks5://u:pw@proxy", "mqtt://b", log_in).unwrap_err();
    assert!(error.contains("refuses the user name"), "{error}");
    let wanted: &[(&[u8], &[u8])] = &[(b"\x05\x01\x00", b"\x05\xFF")];
    let error = play("socks5://proxy", "mqtt://b", wanted).unwrap_err();
    assert!(error.contains("wants a user name"), "{error}");
}

#[test]
fn refusals_of_socks5_are_told() {
    let script: &[(&[u8], &[u8])] = &[
        (b"\x05\x01\x00", b"\x05\x00"),
        (b"\x05\x01\x00\x03\x01b\x07\x5B", b"\x05\x05\x00\x01"),
    ];
    let error = play("socks5://proxy", "mqtt://b", script).unwrap_err();
    assert!(error.contains("the broker refuses"), "{error}");
    let script: &[(&[u8], &[u8])] = &[(b"\x05\x01\x00", b"HT")];
    let error = play("socks5://proxy", "mqtt://b", script).unwrap_err();
    assert!(error.contains("does not speak SOCKS5"), "{error}");
    let script: &[(&[u8], &[u8])] = &[(b"\x05\x01\x00", b"")];
    let error = play("socks5://proxy", "mqtt://b", script).unwrap_err();
    assert!(error.contains("closed"), "{error}");
}

#[test]
fn http_connect_with_and_without_a_password() {
    let rest = play(
        "http://proxy",
        "mqtt://broker.example",
        &[(
            b"CONNECT broker.example:1883 HTTP/1.1\r\nHost: broker.example:1883\r\n\r\n",
            b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nfirst",
        )],
    );
    assert_eq!(rest.unwrap(), b"first");
    let rest = play(
        "http://user:secret@proxy",
        "mqtt://[::1]:7",
        &[(
            b"CONNECT [::1]:7 HTTP/1.1\r\nHost: [::1]:7\r\n\
              Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n",
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        )],
    );
    assert!(rest.unwrap_err().contains("another user name"));
}

#[test]
fn refusals_of_http_are_told() {
    let request: &[u8] = b"CONNECT b:1883 HTTP/1.1\r\nHost: b:1883\r\n\r\n";
    let check = |answer: &[u8], text: &str| {
        let error = play("http://proxy", "mqtt://b", &[(request, answer)]).unwrap_err();
        assert!(error.contains(text), "{error}");
    };
    check(b"HTTP/1.1 403 No\r\n\r\n", "403");
    check(b"SSH-2.0\r\n\r\n", "does not speak HTTP");
    check(b"HTTP/1.1 2", "closed");
}
