//! Rows of paired instances.
