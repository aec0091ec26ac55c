//! Any bytes are read as a PROXY header or refused, in whatever pieces they come.

use midge_transport::proxy::{ProxiedClient, ProxyError, ProxyHeader, ProxyReader, ProxyVersion};

/// What a header may have here, so that the bound is met often.
const BYTES_MAX: usize = 600;

/// What came of the bytes.
pub type Outcome = Result<Option<(ProxyHeader, usize)>, ProxyError>;

/// Takes the version from the first byte of `input`, the length of the pieces from the second, and
/// reads the others.
///
/// # Panics
/// When the reader breaks a promise.
pub fn check(input: &[u8]) {
    let Some((version, piece, bytes)) = split(input) else {
        return;
    };
    let whole = read(version, bytes, bytes.len().max(1));
    let cut = read(version, bytes, piece);
    match (&whole, &cut) {
        // What it looks like depends on how much of it there is.
        (
            Err(ProxyError::NotProxy(_) | ProxyError::OtherVersion),
            Err(ProxyError::NotProxy(_) | ProxyError::OtherVersion),
        ) => {}
        _ => assert_eq!(whole, cut, "in pieces of {piece}"),
    }
    match whole {
        Ok(Some((header, consumed))) => check_header(&header, consumed, bytes),
        Ok(None) => assert!(bytes.len() < BYTES_MAX, "a header has an end"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The version, the length of the pieces, and the bytes.
pub fn split(input: &[u8]) -> Option<(ProxyVersion, usize, &[u8])> {
    let [version, piece, bytes @ ..] = input else {
        return None;
    };
    let version = match version % 2 {
        0 => ProxyVersion::V1,
        _ => ProxyVersion::V2,
    };
    Some((version, usize::from(*piece).max(1), bytes))
}

/// Reads `bytes` in pieces; the length of the header is counted over all.
pub fn read(version: ProxyVersion, bytes: &[u8], piece: usize) -> Outcome {
    let mut reader = ProxyReader::new(version, BYTES_MAX);
    let mut before = 0;
    for now in bytes.chunks(piece) {
        if let Some((header, consumed)) = reader.receive(now)? {
            assert!(consumed <= now.len());
            return Ok(Some((header, before + consumed)));
        }
        before += now.len();
    }
    Ok(None)
}

fn check_header(header: &ProxyHeader, consumed: usize, bytes: &[u8]) {
    assert!(consumed <= bytes.len() && consumed <= BYTES_MAX);
    if let ProxiedClient::Unix { source } = &header.client {
        assert!(source.len() <= 108);
    }
    if let Some(tls) = &header.tls {
        assert!(tls.common_name().is_none() || tls.certificate && tls.verified);
    }
}
