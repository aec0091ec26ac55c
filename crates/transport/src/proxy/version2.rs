//! The binary header of version 2.

use super::{ProxiedClient, ProxyError, ProxyHeader, parse};

/// The signature.
pub(super) const START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, command, family, length.
const FIXED_BYTES: usize = 16;

/// Two paths of 108 bytes.
const UNIX_BYTES: usize = 216;
const UNIX_PATH_BYTES: usize = 108;

/// The kind of the field that carries the checksum.
const CHECKSUM: u8 = 0x03;

pub(super) fn read(
    bytes: &[u8],
    bytes_max: usize,
) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else {
        return Ok(None);
    };
    let [.., command, family, high, low] = *fixed;
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if length > bytes_max {
        return Err(ProxyError::TooLong(length));
    }
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyError::Malformed("an unknown version or command")),
    };
    let Some(whole) = bytes.get(..length) else {
        return Ok(None);
    };
    let mut header = ProxyHeader::unnamed();
    let address_bytes = match family {
        // Whatever follows is to be ignored.
        _ if is_local => return Ok(Some((header, length))),
        0x00 => return Ok(Some((header, length))),
        0x11 => 12,
        0x21 => 36,
        0x31 => UNIX_BYTES,
        0x12 | 0x22 | 0x32 => return Err(ProxyError::Datagram),
        _ => return Err(ProxyError::Malformed("an unknown address family")),
    };
    let (parsed, _) = parse(whole)?;
    let fields = whole.get(FIXED_BYTES + address_bytes..).unwrap_or_default();
    check_sum(whole, fields)?;
    header.client = match parsed.proxied_address() {
        Some(address) => ProxiedClient::Address {
            source: address.source,
            destination: address.destination,
        },
        None => ProxiedClient::Unix {
            source: path(whole.get(FIXED_BYTES..).unwrap_or_default()),
        },
    };
    header
        .take_fields(parsed.tlvs())
        .map_err(|_| ProxyError::Malformed("a field that is none"))?;
    Ok(Some((header, length)))
}

/// The path at the beginning of `addresses`, up to its first zero. One that begins with a zero is of
/// Linux' abstract names, which go on to the last byte that is not zero.
fn path(addresses: &[u8]) -> Box<[u8]> {
    let path = addresses.get(..UNIX_PATH_BYTES).unwrap_or_default();
    let length = if path.first() == Some(&0) {
        path.iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1)
    } else {
        path.iter()
            .position(|byte| *byte == 0)
            .unwrap_or(path.len())
    };
    path.get(..length).unwrap_or_default().into()
}

/// Checks the checksum if there is one; a receiver that can do so has to.
fn check_sum(whole: &[u8], fields: &[u8]) -> Result<(), ProxyError> {
    let mut rest = fields;
    while let [kind, high, low, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((value, next)) = after.split_at_checked(length) else {
            return Err(ProxyError::Malformed("a field that is none"));
        };
        if *kind == CHECKSUM {
            let (before, behind) = (whole.len() - next.len() - length, next);
            let before = whole.get(..before).unwrap_or_default();
            let sum = crc32c::crc32c_append(crc32c::crc32c(before), &[0; 4]);
            let sum = crc32c::crc32c_append(sum, behind);
            return if value == sum.to_be_bytes() {
                Ok(())
            } else {
                Err(ProxyError::Checksum)
            };
        }
        rest = next;
    }
    Ok(())
}
