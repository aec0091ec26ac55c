//! Our WebSocket and tungstenite's.
