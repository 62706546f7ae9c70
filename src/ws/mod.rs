//! The WebSocket edge: handshake, frames, socket. It turns bytes into whole messages and back, and must not know what
//! they mean.

pub mod decode;
pub mod tcp;
pub mod tls;
pub mod upgrade;
pub mod wire;
