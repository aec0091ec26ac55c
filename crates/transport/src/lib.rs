//! TLS, WebSocket and the PROXY protocol as transformers of bytes, without sockets.
