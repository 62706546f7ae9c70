//! Folds events into hours, days, weeks and months, and forgets old events.
