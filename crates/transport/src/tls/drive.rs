//! Turning the crank of a TLS connection: what the library wants done, until it wants more bytes.

use rustls::Error;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};

/// The step that both roles have.
pub(super) trait Endpoint {
    type Data;

    fn step<'c, 'i>(&'c mut self, wire: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;

    /// Whether the next step is to encode something.
    fn has_output(&self) -> bool;
}

impl Endpoint for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn step<'c, 'i>(&'c mut self, wire: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(wire)
    }

    fn has_output(&self) -> bool {
        self.wants_write()
    }
}

impl Endpoint for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn step<'c, 'i>(&'c mut self, wire: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(wire)
    }

    fn has_output(&self) -> bool {
        self.wants_write()
    }
}

/// What came of the bytes.
#[derive(Debug, Default)]
pub(super) struct Driven {
    /// Bytes at the front that are done with.
    pub(super) used: usize,
    /// The peer has said that nothing more follows.
    pub(super) peer_closed: bool,
}

/// Takes all complete records in `wire`. On an error, the alert for the peer is in `reply`.
pub(super) fn receive<E: Endpoint>(
    endpoint: &mut E,
    wire: &mut [u8],
    plain: &mut Vec<u8>,
    reply: &mut Vec<u8>,
) -> Result<Driven, Error> {
    let mut driven = Driven::default();
    loop {
        let rest = wire.get_mut(driven.used..).unwrap_or_default();
        let UnbufferedStatus { discard, state } = endpoint.step(rest);
        driven.used += discard;
        match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    plain.extend_from_slice(record.payload);
                    driven.used += record.discard;
                }
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, reply)?,
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => driven.peer_closed = true,
            Ok(
                ConnectionState::Closed
                | ConnectionState::BlockedHandshake
                | ConnectionState::WriteTraffic(_),
            ) => return Ok(driven),
            // Early data is not offered.
            Ok(_) => return Err(Error::General("unexpected state".into())),
            Err(error) => {
                let rest = wire.get_mut(driven.used..).unwrap_or_default();
                flush_alert(endpoint, rest, reply);
                return Err(error);
            }
        }
    }
}

/// What the library still has to say after an error. It knows where in the bytes that it has not done
/// with messages are, so it wants to see them again, but must not come to read them.
fn flush_alert<E: Endpoint>(endpoint: &mut E, rest: &mut [u8], reply: &mut Vec<u8>) {
    while endpoint.has_output()
        && let Ok(ConnectionState::EncodeTlsData(mut data)) = endpoint.step(rest).state
        && encode(&mut data, reply).is_ok()
    {}
}

/// Appends to `wire` what `write` makes, which takes about `bytes`. `held` is what has come and is not
/// done with.
pub(super) fn send<E: Endpoint>(
    endpoint: &mut E,
    held: &mut [u8],
    wire: &mut Vec<u8>,
    mut bytes: usize,
    mut write: impl FnMut(&mut WriteTraffic<'_, E::Data>, &mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), Error> {
    loop {
        match endpoint.step(held).state? {
            ConnectionState::WriteTraffic(mut traffic) => loop {
                let before = wire.len();
                wire.resize(before + bytes, 0);
                match write(&mut traffic, wire.get_mut(before..).unwrap_or_default()) {
                    Ok(written) => {
                        wire.truncate(before + written);
                        return Ok(());
                    }
                    Err(EncryptError::InsufficientSize(size)) if size.required_size > bytes => {
                        wire.truncate(before);
                        bytes = size.required_size;
                    }
                    Err(error) => {
                        wire.truncate(before);
                        return Err(Error::General(error.to_string()));
                    }
                }
            },
            ConnectionState::EncodeTlsData(mut data) => encode(&mut data, wire)?,
            ConnectionState::TransmitTlsData(data) => data.done(),
            ConnectionState::PeerClosed => {}
            _ => return Err(Error::HandshakeNotComplete),
        }
    }
}

fn encode<D>(data: &mut EncodeTlsData<'_, D>, wire: &mut Vec<u8>) -> Result<(), Error> {
    let before = wire.len();
    let mut bytes = 0;
    loop {
        wire.resize(before + bytes, 0);
        match data.encode(wire.get_mut(before..).unwrap_or_default()) {
            Ok(written) => {
                wire.truncate(before + written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(size)) if size.required_size > bytes => {
                bytes = size.required_size;
            }
            Err(error) => {
                wire.truncate(before);
                return Err(Error::General(error.to_string()));
            }
        }
    }
}
