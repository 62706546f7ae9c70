//! The rules of the watchman without any I/O: values, state machine, thresholds. Nothing here knows SQL or HTTP.

pub mod enums;
pub mod labels;
pub mod metric;
pub mod pairing;
pub mod rollup;
pub mod slug;
pub mod state;
pub mod time;
pub mod token;

pub use enums::{
    AlertType, ChannelType, EventType, Granularity, MonitorState, MonitorType, ServiceState, Severity,
    ThresholdStrategy,
};
pub use time::Timestamp;
