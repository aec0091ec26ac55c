//! From a server's scheme to the layers of a connection.

use super::dial::Resolving;
use super::server::Server;
use super::wrapped::Wrapped;
use super::{Dialer, failure};
use crate::error::{ConnectionError, OptionsError};
use midge_codec::Version;
use midge_transport::websocket::{HandshakeRequest, Subprotocol};
use midge_transport::{ClientLayers, ClientWebSocket, Layers};

/// What a connection is going to be wrapped in.
pub(super) struct Wrapping<'a> {
    dialer: &'a Dialer,
    server: &'a Server,
    #[cfg(feature = "tls")]
    tls: Option<std::sync::Arc<midge_transport::tls::ClientTls>>,
}

/// Gets ready what does not need the connection.
pub(super) async fn prepare<'a>(
    dialer: &'a Dialer,
    server: &'a Server,
    resolving: Resolving,
) -> Result<Wrapping<'a>, ConnectionError> {
    server.check()?;
    #[cfg(feature = "tls")]
    if resolving == Resolving::Elsewhere && server.scheme.is_tls() {
        let state = std::sync::Arc::clone(&dialer.tls);
        let ready = tokio::task::spawn_blocking(move || state.ready())
            .await
            // Only when the runtime ends.
            .unwrap_or_else(|error| Err(OptionsError(error.to_string())));
        return Ok(Wrapping {
            dialer,
            server,
            tls: Some(ready?),
        });
    }
    let _ = resolving;
    prepare_here(dialer, server)
}

/// The same on the present thread, which may have to read files.
pub(super) fn prepare_here<'a>(
    dialer: &'a Dialer,
    server: &'a Server,
) -> Result<Wrapping<'a>, ConnectionError> {
    server.check()?;
    Ok(Wrapping {
        dialer,
        server,
        #[cfg(feature = "tls")]
        tls: if server.scheme.is_tls() {
            Some(dialer.tls.ready()?)
        } else {
            None
        },
    })
}

impl Wrapping<'_> {
    /// The layers of a connection that now stands; `None` if it has none.
    pub(super) fn begin(&self) -> Result<Option<Box<Wrapped>>, ConnectionError> {
        let Self { dialer, server, .. } = self;
        #[cfg(feature = "tls")]
        let name = match &dialer.tls.options.server_name {
            Some(name) if self.tls.is_some() => name,
            _ => &server.host,
        };
        #[cfg(not(feature = "tls"))]
        let name = &server.host;
        let mut wanted = ClientLayers {
            #[cfg(feature = "tls")]
            tls: self.tls.as_deref().map(|tls| (tls, name.as_str())),
            ..ClientLayers::default()
        };
        let host = server.host_header();
        let headers: Vec<(&str, &str)> = dialer
            .websocket_headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        if server.scheme.is_websocket() {
            wanted.websocket = Some(ClientWebSocket {
                request: HandshakeRequest {
                    host: &host,
                    path: dialer.websocket_path.as_deref().unwrap_or(&server.path),
                    subprotocol: match dialer.version {
                        Version::V3_1 => Subprotocol::Mqttv31,
                        Version::V3_1_1 | Version::V5 => Subprotocol::Mqtt,
                    },
                    headers: &headers,
                },
                key: random()?,
                mask_seed: random()?,
            });
        }
        let mut wire = Vec::new();
        let layers =
            Layers::connect(&wanted, &mut wire).map_err(|error| failure::of_begin(&error))?;
        Ok(layers.map(|layers| Box::new(Wrapped::new(layers, name, wire))))
    }
}

fn random() -> Result<[u8; 16], ConnectionError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| OptionsError(format!("the system has no random numbers: {error}")))?;
    Ok(bytes)
}
