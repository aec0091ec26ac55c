use super::*;

/// A header of version 2 with its signature and length.
fn version2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend_from_slice(&[command, family]);
    bytes.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(value);
    bytes
}

/// 203.0.113.7:4711 to 192.0.2.1:1883, and fields.
fn tcp4(fields: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![203, 0, 113, 7, 192, 0, 2, 1, 0x12, 0x67, 0x07, 0x5B];
    body.extend(fields.concat());
    version2(0x21, 0x11, &body)
}

fn address(source: &str, destination: &str) -> ProxiedClient {
    ProxiedClient::Address {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

/// Reads `header` cut at every place, with something behind it.
fn read(version: ProxyVersion, header: &[u8]) -> ProxyHeader {
    let mut found = None;
    for cut in 0..=header.len() {
        let mut reader = ProxyReader::new(version, 2048);
        let (first, second) = header.split_at(cut);
        if cut < header.len() {
            assert_eq!(reader.receive(first), Ok(None), "cut at {cut}");
        }
        let mut bytes = if cut < header.len() { second } else { first }.to_vec();
        let length = bytes.len();
        bytes.extend_from_slice(b"\x10\x0C\x00\x04MQTT");
        let (header, consumed) = reader.receive(&bytes).unwrap().expect("it is whole");
        assert_eq!(consumed, length, "cut at {cut}");
        assert!(found.is_none() || found.as_ref() == Some(&header));
        found = Some(header);
    }
    found.unwrap()
}

fn refused(version: ProxyVersion, bytes: &[u8]) -> ProxyError {
    let at_once = ProxyReader::new(version, 2048).receive(bytes);
    let mut reader = ProxyReader::new(version, 2048);
    let mut one_by_one = Ok(None);
    for byte in bytes {
        one_by_one = reader.receive(&[*byte]);
        if one_by_one.is_err() {
            break;
        }
    }
    let error = one_by_one.expect_err("refused");
    // What it looks like depends on how much of it there is.
    let kind = std::mem::discriminant::<ProxyError>;
    assert_eq!(at_once.as_ref().map_err(kind), Err(kind(&error)));
    at_once.unwrap_err()
}

#[test]
fn a_line_of_version_1_names_the_client() {
    for (line, client) in [
        (
            "PROXY TCP4 203.0.113.7 192.0.2.1 4711 1883\r\n",
            address("203.0.113.7:4711", "192.0.2.1:1883"),
        ),
        (
            "PROXY TCP6 2001:db8::7 2001:db8::1 4711 8883\r\n",
            address("[2001:db8::7]:4711", "[2001:db8::1]:8883"),
        ),
        ("PROXY UNKNOWN\r\n", ProxiedClient::Unnamed),
        (
            "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
            ProxiedClient::Unnamed,
        ),
    ] {
        let header = read(ProxyVersion::V1, line.as_bytes());
        assert_eq!((header.client, header.tls), (client, None), "{line}");
    }
}

#[test]
fn a_bad_line_of_version_1_is_refused() {
    for line in [
        "PROXY TCP4 203.0.113.7 192.0.2.1 4711\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 4711 70000\r\n",
        "PROXY TCP4 203.0.113 192.0.2.1 4711 1883\r\n",
        "PROXY TCP4 2001:db8::7 2001:db8::1 4711 1883\r\n",
        "PROXY TCP6 203.0.113.7 192.0.2.1 4711 1883\r\n",
        "PROXY UDP4 203.0.113.7 192.0.2.1 4711 1883\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 4711 1883\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 4711 1883 more\r\n",
        "PROXY TCP4  203.0.113.7 192.0.2.1 4711 1883\r\n",
        "PROXY \r\n",
        "PROXY UNKNOWN\n",
    ] {
        let error = refused(ProxyVersion::V1, line.as_bytes());
        assert!(matches!(error, ProxyError::Malformed(_)), "{line}: {error}");
    }
}

#[test]
fn a_line_without_end_is_refused_at_its_bound() {
    let mut line = b"PROXY UNKNOWN ".to_vec();
    line.resize(400, b'x');
    line.extend_from_slice(b"\r\n");
    assert_eq!(refused(ProxyVersion::V1, &line), ProxyError::TooLong(107));
    let mut reader = ProxyReader::new(ProxyVersion::V1, 2048);
    assert_eq!(reader.receive(&line[..106]), Ok(None));
    assert_eq!(reader.receive(&line[106..]), Err(ProxyError::TooLong(107)));
}

#[test]
fn version_2_names_the_client() {
    let header = read(ProxyVersion::V2, &tcp4(&[]));
    assert_eq!(header.client, address("203.0.113.7:4711", "192.0.2.1:1883"));
    let mut body = vec![0; 36];
    body[15] = 1;
    body[31] = 2;
    body[33] = 3;
    body[35] = 4;
    let header = read(ProxyVersion::V2, &version2(0x21, 0x21, &body));
    assert_eq!(header.client, address("[::1]:3", "[::2]:4"));
}

#[test]
fn a_unix_socket_has_a_path_or_none() {
    for (path, expected) in [
        (b"/run/x.sock".as_slice(), b"/run/x.sock".as_slice()),
        (b"", b""),
        (b"\0abstract", b"\0abstract"),
        (&[b'p'; 108], &[b'p'; 108]),
    ] {
        let mut body = vec![0; 216];
        body[..path.len()].copy_from_slice(path);
        body.extend(field(0x02, b"broker.example"));
        let header = read(ProxyVersion::V2, &version2(0x21, 0x31, &body));
        let source = expected.into();
        assert_eq!(header.client, ProxiedClient::Unix { source });
        assert_eq!(header.authority.as_deref(), Some("broker.example"));
    }
}

#[test]
fn a_health_check_of_the_proxy_has_no_client() {
    for header in [
        version2(0x20, 0x00, &[]),
        version2(0x20, 0x11, &[1; 12]),
        version2(0x20, 0x77, b"whatever"),
        version2(0x21, 0x00, b"ignored"),
    ] {
        let header = read(ProxyVersion::V2, &header);
        assert_eq!(header, ProxyHeader::unnamed());
    }
}

#[test]
fn fields_tell_of_tls_and_the_certificate() {
    let mut tls = vec![0x07, 0, 0, 0, 0];
    tls.extend(field(0x21, b"TLSv1.3"));
    tls.extend(field(0x22, b"device-7"));
    tls.extend(field(0x23, b"TLS_AES_256_GCM_SHA384"));
    tls.extend(field(0x28, b"a whole certificate"));
    let header = tcp4(&[
        field(0x01, b"mqtt"),
        field(0x02, b"broker.example"),
        field(0x04, b"padding"),
        field(0x20, &tls),
        field(0xE0, b"our own"),
    ]);
    let header = read(ProxyVersion::V2, &header);
    assert_eq!(header.alpn.as_deref(), Some(b"mqtt".as_slice()));
    assert_eq!(header.authority.as_deref(), Some("broker.example"));
    let tls = header.tls.unwrap();
    assert_eq!(tls.version.as_deref(), Some("TLSv1.3"));
    assert_eq!(tls.cipher.as_deref(), Some("TLS_AES_256_GCM_SHA384"));
    assert_eq!(tls.common_name(), Some("device-7"));
}

#[test]
fn a_name_counts_only_in_a_certificate_that_was_verified() {
    for (flags, verify, expected) in [
        (0x03, 0, Some(Some("device-7"))),
        (0x05, 0, Some(Some("device-7"))),
        (0x01, 0, Some(None)),
        (0x07, 1, Some(None)),
        (0x06, 0, None),
        (0x00, 0, None),
    ] {
        let mut tls = vec![flags, 0, 0, 0, verify];
        tls.extend(field(0x22, b"device-7"));
        let header = read(ProxyVersion::V2, &tcp4(&[field(0x20, &tls)]));
        let seen = header.tls.as_ref().map(ProxiedTls::common_name);
        assert_eq!(seen, expected, "flags {flags:#x}, verify {verify}");
    }
}

#[test]
fn a_checksum_is_checked() {
    let mut header = tcp4(&[
        field(0x02, b"host"),
        field(0x03, &[0; 4]),
        field(0x04, b"xx"),
    ]);
    let place = 16 + 12 + 7 + 3;
    let sum = crc32c::crc32c(&header);
    header[place..place + 4].copy_from_slice(&sum.to_be_bytes());
    let seen = read(ProxyVersion::V2, &header);
    assert_eq!(seen.authority.as_deref(), Some("host"));
    for at in 16..header.len() - 5 {
        let mut damaged = header.clone();
        damaged[at] ^= 1;
        let read = ProxyReader::new(ProxyVersion::V2, 2048).receive(&damaged);
        assert!(read.is_err() || at == place - 3, "byte {at}: {read:?}");
    }
    let short = tcp4(&[field(0x03, &[0; 3])]);
    assert!(
        ProxyReader::new(ProxyVersion::V2, 2048)
            .receive(&short)
            .is_err()
    );
}

#[test]
fn a_bad_header_of_version_2_is_refused() {
    let malformed = |bytes: &[u8]| {
        let error = refused(ProxyVersion::V2, bytes);
        assert!(matches!(error, ProxyError::Malformed(_)), "{error}");
    };
    malformed(&version2(0x11, 0x11, &[0; 12]));
    malformed(&version2(0x22, 0x11, &[0; 12]));
    malformed(&version2(0x21, 0x41, &[0; 12]));
    malformed(&version2(0x21, 0x11, &[0; 11]));
    malformed(&version2(0x21, 0x21, &[0; 35]));
    malformed(&version2(0x21, 0x31, &[0; 215]));
    malformed(&tcp4(&[vec![0x02]]));
    malformed(&tcp4(&[vec![0x02, 0, 5, b'x']]));
    malformed(&tcp4(&[field(0x02, b"\xFF")]));
    malformed(&tcp4(&[field(0x20, &[1, 0, 0, 0])]));
    malformed(&tcp4(&[field(0x20, &[1, 0, 0, 0, 0, 0x22])]));
    malformed(&tcp4(&[field(0x20, &[1, 0, 0, 0, 0, 0x22, 0, 1, 0xFF])]));
    for family in [0x12, 0x22, 0x32] {
        let error = refused(ProxyVersion::V2, &version2(0x21, family, &[0; 216]));
        assert_eq!(error, ProxyError::Datagram);
    }
}

#[test]
fn a_long_header_is_refused_before_it_has_come() {
    let mut reader = ProxyReader::new(ProxyVersion::V2, 100);
    let header = tcp4(&[field(0x04, &[0; 80])]);
    let length = header.len();
    assert_eq!(
        reader.receive(&header[..16]),
        Err(ProxyError::TooLong(length))
    );
    let mut reader = ProxyReader::new(ProxyVersion::V2, length);
    assert!(reader.receive(&header).unwrap().is_some());
}

#[test]
fn what_is_no_header_is_named_with_its_first_bytes() {
    for (bytes, looks) in [
        (b"\x16\x03\x01\x02\x00".as_slice(), Looks::Tls),
        (b"\x10\x0C\x00\x04MQTT", Looks::Mqtt),
        (b"GET / HTTP/1.1\r\n", Looks::Http),
        (b"\0", Looks::Unknown),
    ] {
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            assert_eq!(refused(version, bytes), ProxyError::NotProxy(looks));
        }
    }
    assert_eq!(
        refused(ProxyVersion::V1, &tcp4(&[])),
        ProxyError::OtherVersion
    );
    let line = b"PROXY UNKNOWN\r\n";
    assert_eq!(refused(ProxyVersion::V2, line), ProxyError::OtherVersion);
}
