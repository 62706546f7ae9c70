//! Calls the URLs of health-check monitors.
