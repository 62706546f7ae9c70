//! Delivers what is due in the outbox.
