//! Who is asking: HTTP Basic or the session cookie, with throttling of wrong passwords.

use super::origin;
use crate::app::App;
use crate::config::Config;
use crate::domain::Timestamp;
use crate::domain::time::doubled;
use crate::domain::token::{is_secret_of, same_secret, sha256};
use crate::error::{Code, Error, Result};
use crate::store::sessions;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, ResponseError, web};
use base64::Engine;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

pub const COOKIE: &str = "mkat_session";
/// Requests that change something and are authenticated by the cookie must carry this header (any value): a foreign
/// page cannot set it.
pub const CSRF_HEADER: &str = "x-mkat-csrf";

/// Wrong passwords that an address has free before it must wait.
const FREE_TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Addresses remembered; beyond that the longest ago is forgotten.
const ADDRESSES: usize = 10_000;

/// The signed-in operator, in the request's extensions.
#[derive(Debug, Clone)]
pub struct User {
    pub name: String,
}

/// The credentials in force and who failed to give them.
pub struct Guard {
    username: String,
    /// SHA-256; a generated password is known only by it.
    password: [u8; 32],
    failures: Mutex<HashMap<IpAddr, Failure>>,
}

#[derive(Clone, Copy)]
struct Failure {
    count: u32,
    last: Instant,
}

impl Guard {
    /// `password`: its SHA-256.
    pub fn new(config: &Config, password: [u8; 32]) -> Self {
        Self { username: config.username.clone(), password, failures: Mutex::default() }
    }

    /// Whether name and password are right; wrong ones count against `address`.
    /// RATE_LIMITED while the address has to wait.
    pub fn check(&self, address: IpAddr, username: &str, password: &str) -> Result<bool> {
        let now = Instant::now();
        if let Some(wait) = self.wait(address, now) {
            let text = format!("too many wrong passwords, wait {} s", wait.as_secs() + 1);
            return Err(Error::refused(Code::RateLimited, text));
        }
        // Both are always compared, so the time says nothing about which was wrong.
        let name_right = same_secret(username, &self.username);
        let right = name_right & is_secret_of(password, &self.password);
        self.remember(address, right, now);
        Ok(right)
    }

    fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let failure = *self.lock().get(&address)?;
        let over = failure.count.checked_sub(FREE_TRIES)?;
        let wait = doubled(FIRST_WAIT, over, LONGEST_WAIT);
        (failure.last + wait).checked_duration_since(now).filter(|rest| !rest.is_zero())
    }

    fn remember(&self, address: IpAddr, right: bool, now: Instant) {
        let mut failures = self.lock();
        if right {
            failures.remove(&address);
            return;
        }
        if failures.len() >= ADDRESSES
            && !failures.contains_key(&address)
            && let Some(oldest) = failures.iter().min_by_key(|(_, failure)| failure.last).map(|(key, _)| *key)
        {
            failures.remove(&oldest);
        }
        let entry = failures.entry(address).or_insert(Failure { count: 0, last: now });
        // A quiet hour forgives.
        entry.count = if now.duration_since(entry.last) > Duration::from_secs(3600) { 1 } else { entry.count + 1 };
        entry.last = now;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, Failure>> {
        self.failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Why a request is not the operator's.
#[derive(Debug)]
pub enum Refusal {
    /// 401; `challenge` asks a plain client (not our page) for Basic credentials.
    SignIn {
        challenge: bool,
    },
    Error(Error),
}

impl Refusal {
    pub fn into_response(self) -> HttpResponse {
        let (error, header) = match self {
            Self::SignIn { challenge } => {
                let value = challenge.then_some((WWW_AUTHENTICATE, "Basic realm=\"mkat\""));
                (Error::refused(Code::Unauthorized, "sign in first"), value)
            }
            Self::Error(error) => {
                let limited = error.code() == Code::RateLimited;
                (error, limited.then_some((RETRY_AFTER, "1")))
            }
        };
        let mut response = error.error_response();
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// Wraps every endpoint of [`super::Access::User`].
pub async fn require_user(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> std::result::Result<ServiceResponse<BoxBody>, actix_web::Error> {
    match identify(request.request()).await {
        Ok(user) => {
            request.extensions_mut().insert(user);
            next.call(request).await
        }
        Err(refusal) => Ok(request.into_response(refusal.into_response())),
    }
}

/// Who is asking.
pub async fn identify(request: &HttpRequest) -> std::result::Result<User, Refusal> {
    let state = request.app_data::<web::Data<App>>().zip(request.app_data::<web::Data<Guard>>());
    let Some((app, guard)) = state else {
        return Err(Refusal::Error(Error::internal("the application has no state")));
    };
    if let Some(header) = request.headers().get(AUTHORIZATION) {
        return by_header(request, app, guard, header);
    }
    let Some(cookie) = request.cookie(COOKIE) else {
        // Our page brings the CSRF header and shows its own sign-in instead of the browser's.
        return Err(Refusal::SignIn { challenge: !request.headers().contains_key(CSRF_HEADER) });
    };
    let hash = sha256(cookie.value());
    let found = app.read(move |db| sessions::find(db, &hash, Timestamp::now())).await.map_err(Refusal::Error)?;
    let Some((name, _)) = found else { return Err(Refusal::SignIn { challenge: false }) };
    if !request.method().is_safe() && !request.headers().contains_key(CSRF_HEADER) {
        let text = format!("requests that change something need the header {CSRF_HEADER}");
        return Err(Refusal::Error(Error::refused(Code::CsrfHeaderMissing, text)));
    }
    Ok(User { name })
}

/// Wrong credentials are not challenged: that would make browsers open their own dialog over our page.
fn by_header(
    request: &HttpRequest,
    app: &App,
    guard: &Guard,
    header: &HeaderValue,
) -> std::result::Result<User, Refusal> {
    let (name, password) = basic(header).ok_or(Refusal::SignIn { challenge: false })?;
    let address = origin::client_address(request, &app.config);
    match guard.check(address, &name, &password) {
        Ok(true) => Ok(User { name }),
        Ok(false) => Err(Refusal::SignIn { challenge: false }),
        Err(error) => Err(Refusal::Error(error)),
    }
}

/// What follows the scheme in an Authorization header; the scheme in any case.
fn credentials<'h>(header: &'h HeaderValue, scheme: &str) -> Option<&'h str> {
    let (given, value) = header.to_str().ok()?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| value.trim())
}

/// The secret of a Bearer header.
pub fn bearer(request: &HttpRequest) -> Option<&str> {
    credentials(request.headers().get(AUTHORIZATION)?, "bearer")
}

/// Name and password of a Basic header; the password may contain colons.
fn basic(header: &HeaderValue) -> Option<(String, String)> {
    let value = credentials(header, "basic")?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(value).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        let config = Config::read(|_| None).unwrap();
        Guard::new(&config, sha256("right"))
    }

    #[tokio::test(start_paused = true)]
    async fn waits_grow_with_wrong_passwords_and_end_with_the_right_one() {
        let guard = guard();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let code = |result: Result<bool>| result.map_err(|error| error.code());
        for _ in 0..FREE_TRIES {
            assert_eq!(code(guard.check(one, "admin", "wrong")), Ok(false));
        }
        let mut wait = FIRST_WAIT;
        for _ in 0..12 {
            assert_eq!(code(guard.check(one, "admin", "right")), Err(Code::RateLimited));
            tokio::time::advance(wait - Duration::from_millis(1)).await;
            assert_eq!(code(guard.check(one, "admin", "right")), Err(Code::RateLimited));
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(code(guard.check(one, "admin", "wrong")), Ok(false));
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        assert_eq!(code(guard.check(other, "admin", "right")), Ok(true), "another address need not wait");
        tokio::time::advance(LONGEST_WAIT).await;
        assert_eq!(code(guard.check(one, "admin", "right")), Ok(true));
        assert_eq!(
            code(guard.check(one, "Admin", "right")),
            Ok(false),
            "the name counts as well, and the count is new"
        );
    }

    #[test]
    fn the_memory_of_wrong_passwords_is_bounded() {
        let guard = guard();
        for n in 0..u32::try_from(ADDRESSES).unwrap() + 50 {
            assert!(guard.check(IpAddr::from(n.to_be_bytes()), "admin", "wrong").is_ok());
        }
        assert_eq!(guard.lock().len(), ADDRESSES);
    }

    #[test]
    fn basic_headers_are_read_exactly() {
        use base64::Engine;
        let header = |scheme: &str, text: &str| {
            let encoded = base64::engine::general_purpose::STANDARD.encode(text);
            basic(&HeaderValue::from_str(&format!("{scheme} {encoded}")).unwrap())
        };
        assert_eq!(header("basic", "a:b:c"), Some(("a".into(), "b:c".into())));
        assert_eq!(header("BASIC", "ä:ö"), Some(("ä".into(), "ö".into())));
        assert_eq!(header("Bearer", "a:b"), None);
        assert_eq!(header("Basic", "ab"), None);
        assert_eq!(basic(&HeaderValue::from_static("Basic")), None);
    }
}
