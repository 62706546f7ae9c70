//! MICS, the multi-tenant messaging gateway: the edges (WebSocket, HTTP, gRPC), the adapters of the ports (hooks, Redis,
//! Kafka), configuration and composition. Rules are in `mics-domain`, the flow and the actors in `mics-actors`.

pub mod admin;
pub mod admin_cli;
pub mod background;
pub mod certificate;
pub mod config;
pub mod dlq;
pub mod docs;
pub mod gateway;
pub mod grpc;
pub mod hookmock;
pub mod hooks;
pub mod http;
pub mod kafka;
pub mod load;
pub mod logs;
pub mod redis;
pub mod reload;
pub mod traces;
pub mod ws;
