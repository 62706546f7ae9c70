//! Slows down strangers who try secrets: so many wrong ones per address and minute.

use crate::error::{Code, Error, Result};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(60);
/// Wrong tries that an address has per window.
const FREE: u32 = 20;
/// Addresses remembered; when there are more, all are forgiven.
const ADDRESSES: usize = 10_000;

pub struct Throttle(Mutex<BTreeMap<IpAddr, (Instant, u32)>>);

impl Throttle {
    pub const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// RATE_LIMITED while the address has used up its tries.
    pub fn check(&self, address: IpAddr) -> Result<()> {
        let tries = self.lock().get(&address).copied();
        match tries {
            Some((began, count)) if count >= FREE && began.elapsed() < WINDOW => {
                Err(Error::refused(Code::RateLimited, "too many wrong tries from this address, wait a minute"))
            }
            _ => Ok(()),
        }
    }

    pub fn count_wrong(&self, address: IpAddr) {
        let mut tries = self.lock();
        if tries.len() >= ADDRESSES {
            tries.clear();
        }
        let entry = tries.entry(address).or_insert((Instant::now(), 0));
        if entry.0.elapsed() >= WINDOW {
            *entry = (Instant::now(), 0);
        }
        entry.1 += 1;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, (Instant, u32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_waits_a_minute_after_too_many_wrong_tries() {
        let throttle = Throttle::new();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for _ in 0..FREE {
            assert!(throttle.check(one).is_ok());
            throttle.count_wrong(one);
        }
        assert!(throttle.check(one).is_err() && throttle.check(other).is_ok());
        tokio::time::advance(WINDOW).await;
        assert!(throttle.check(one).is_ok());
    }
}
