//! Sends heartbeats to paired instances and tells them when our notifications are broken.
