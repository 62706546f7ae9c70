//! Client SDK for MICS: what an application needs to send and receive messages through a gateway. It knows the wire
//! contract and nothing of the gateway's own crates, and it must never log a token or a message body.
#![doc = include_str!("../README.md")]

mod backoff;
mod client;
mod crypto;
mod dedup;
mod endpoint;
mod engine;
mod error;
mod event;
mod inflight;
mod link;
mod options;
mod transport;

pub use client::MicsClient;
pub use crypto::{AesGcmMessageCrypto, CryptoError, MessageCrypto};
pub use error::{CloseAction, CloseInfo, MicsError, close_action};
pub use event::{ClientStats, ConnectionState, Delivery, Event, EventStream, MicsSession, StatsSnapshot};
pub use mics_proto::message::{AckStatus, MessageAck, MessageRequest, MessageType, ServerError};
pub use options::{BoxError, ConnectParams, MicsClientOptions, TokenProvider};
