//! MICS
