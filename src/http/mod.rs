//! The HTTP edge: one port for health, metrics, the WebSocket endpoint and (by its preface) node-to-node gRPC. It must
//! not know messages.

pub mod app;
pub mod console;
pub mod listener;
