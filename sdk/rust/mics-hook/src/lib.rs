//! Hook SDK.
