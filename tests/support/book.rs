//! Tenants whose answers a test chooses: a `Hooks` port in this process, without time-outs, so that a test decides when
//! a hook answers. Must not open sockets.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use mics_domain::message::Message;
use mics_domain::policy::HookFailure;
use mics_domain::ports::{
    AuthAnswer, CheckAnswer, HookTarget, Hooks, Identity, LocalFuture, MembersPage, MembersQuestion, OfflinePage,
};
use mics_domain::tenant::{Secret, TenantConfig};
use mics_proto::message::MessageRequest;
use mics_proto::prost::Message as _;
use tokio::sync::Semaphore;

/// Never leaves the gateway: not by log, not by metric.
pub const SECRET: &str = "tenant-secret-of-the-book";

/// A hook that waits until it is let go.
#[derive(Clone)]
pub struct Hold {
    gate: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl Default for Hold {
    fn default() -> Self {
        Hold { gate: Arc::new(Semaphore::new(0)), waiting: Arc::default() }
    }
}

impl Hold {
    /// Lets everybody go, now and later.
    pub fn release(&self) {
        self.gate.add_permits(10_000);
    }

    /// Calls that came so far.
    pub fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    async fn wait(&self) {
        self.waiting.fetch_add(1, SeqCst);
        self.gate.acquire().await.unwrap().forget();
    }
}

/// What /check-message does with one message.
#[derive(Clone)]
pub enum Check {
    Allow,
    Deny(&'static str),
    Fail(HookFailure),
    Wait(Hold),
    WaitThenDeny(Hold, &'static str),
    Delay(u64),
    Panic,
}

/// What /get-group-members does with one question.
#[derive(Clone)]
pub enum Listing {
    Answer,
    Fail(HookFailure),
    /// Answers once it is let go.
    Wait(Hold),
    /// Answers exactly this.
    Page(MembersPage),
}

type Lister = Arc<dyn Fn(&MembersQuestion) -> Listing + Send + Sync>;
type Checker = Arc<dyn Fn(&Message) -> Check + Send + Sync>;

/// The tenants' back end. A token `valid:<user>` or `valid:<user>~<anything>` is good.
#[derive(Default)]
pub struct Book {
    configs: HashMap<String, TenantConfig>,
    groups: Mutex<HashMap<(String, String), Vec<String>>>,
    lister: Option<Lister>,
    /// Answers all members in one page, whatever is asked, as a server that knows no pages.
    pageless: bool,
    own_page_size: usize,
    checker: Option<Checker>,
    stored: Vec<Bytes>,
    auth_hold: Mutex<Option<Hold>>,
    auth_failure: Option<HookFailure>,
    /// Messages that were asked about.
    pub checked: Mutex<Vec<Message>>,
    /// Questions of /get-group-members.
    pub listed: Mutex<Vec<MembersQuestion>>,
}

/// Generous everywhere.
pub fn config() -> TenantConfig {
    TenantConfig {
        heartbeat_timeout_ms: 120_000,
        offline_ttl_ms: 300_000,
        secret: Secret::new(SECRET),
        ..TenantConfig::default()
    }
}

impl Book {
    pub fn config(mut self, tenant: &str, change: impl FnOnce(&mut TenantConfig)) -> Self {
        change(self.configs.entry(tenant.into()).or_insert_with(config));
        self
    }

    pub fn group<S: Into<String>>(self, tenant: &str, group: &str, members: impl IntoIterator<Item = S>) -> Self {
        self.change_group(tenant, group, members);
        self
    }

    pub fn change_group<S: Into<String>>(&self, tenant: &str, group: &str, members: impl IntoIterator<Item = S>) {
        let members = members.into_iter().map(Into::into).collect();
        self.groups.lock().unwrap().insert((tenant.into(), group.into()), members);
    }

    pub fn list(mut self, lister: impl Fn(&MembersQuestion) -> Listing + Send + Sync + 'static) -> Self {
        self.lister = Some(Arc::new(lister));
        self
    }

    pub fn pageless(mut self) -> Self {
        self.pageless = true;
        self
    }

    /// Pages of this size, though not asked for.
    pub fn own_pages(mut self, size: usize) -> Self {
        self.own_page_size = size;
        self
    }

    /// Cursors asked for so far.
    pub fn cursors(&self) -> Vec<String> {
        self.listed.lock().unwrap().iter().map(|question| question.cursor.clone()).collect()
    }

    /// One page; the version of a list is its members.
    fn page(&self, tenant: &str, question: &MembersQuestion) -> MembersPage {
        let key = (tenant.to_owned(), question.group.clone());
        let members = self.groups.lock().unwrap().get(&key).cloned().unwrap_or_default();
        if self.pageless {
            return MembersPage { members, ..MembersPage::default() };
        }
        let version = members.join(",");
        if !version.is_empty() && version == question.known_version {
            return MembersPage { version, not_modified: true, ..MembersPage::default() };
        }
        let sizes = [question.max_members as usize, self.own_page_size, members.len()];
        let size = sizes.into_iter().find(|size| *size > 0).unwrap_or(0);
        let start = question.cursor.parse().unwrap_or(0);
        let end = members.len().min(start + size);
        let next_cursor = if end < members.len() { end.to_string() } else { String::new() };
        MembersPage { members: members[start..end].to_vec(), next_cursor, version, not_modified: false }
    }

    pub fn check(mut self, checker: impl Fn(&Message) -> Check + Send + Sync + 'static) -> Self {
        self.checker = Some(Arc::new(checker));
        self
    }

    /// Messages that /get-offline-messages answers, page by page.
    pub fn stored(mut self, messages: Vec<MessageRequest>) -> Self {
        self.stored = messages.iter().map(|message| message.encode_to_vec().into()).collect();
        self
    }

    pub fn auth_fails(mut self, failure: HookFailure) -> Self {
        self.auth_failure = Some(failure);
        self
    }

    /// Has /auth of users called `late...` wait.
    pub fn hold_late_comers(self, hold: &Hold) -> Self {
        *self.auth_hold.lock().unwrap() = Some(hold.clone());
        self
    }
}

impl Hooks for Book {
    fn auth<'a>(
        &'a self,
        to: &'a HookTarget,
        token: &'a str,
        _device: &'a str,
    ) -> LocalFuture<'a, Result<AuthAnswer, HookFailure>> {
        Box::pin(async move {
            if let Some(failure) = self.auth_failure {
                return Err(failure);
            }
            let Some(user) = token.strip_prefix("valid:").and_then(|user| user.split('~').next()) else {
                return Ok(AuthAnswer::Refused("invalid token".into()));
            };
            let hold = self.auth_hold.lock().unwrap().clone().filter(|_| user.starts_with("late"));
            if let Some(hold) = hold {
                hold.wait().await;
            }
            let config = self.configs.get(&*to.tenant).cloned().unwrap_or_else(config);
            Ok(AuthAnswer::Accepted(Box::new(Identity { user: user.to_owned(), config })))
        })
    }

    fn check_message<'a>(
        &'a self,
        _to: &'a HookTarget,
        message: &'a Message,
    ) -> LocalFuture<'a, Result<CheckAnswer, HookFailure>> {
        Box::pin(async move {
            self.checked.lock().unwrap().push(message.clone());
            let answer = |allow, reason: &str| Ok(CheckAnswer { allow, reason: reason.into() });
            match self.checker.as_ref().map_or(Check::Allow, |check| check(message)) {
                Check::Allow => {}
                Check::Deny(reason) => return answer(false, reason),
                Check::Fail(failure) => return Err(failure),
                Check::Wait(hold) => hold.wait().await,
                Check::WaitThenDeny(hold, reason) => {
                    hold.wait().await;
                    return answer(false, reason);
                }
                Check::Delay(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                Check::Panic => panic!("the check panics on request"),
            }
            answer(true, "")
        })
    }

    fn group_members<'a>(
        &'a self,
        to: &'a HookTarget,
        question: &'a MembersQuestion,
    ) -> LocalFuture<'a, Result<MembersPage, HookFailure>> {
        Box::pin(async move {
            self.listed.lock().unwrap().push(question.clone());
            match self.lister.as_ref().map_or(Listing::Answer, |lister| lister(question)) {
                Listing::Answer => {}
                Listing::Fail(failure) => return Err(failure),
                Listing::Wait(hold) => hold.wait().await,
                Listing::Page(page) => return Ok(page),
            }
            Ok(self.page(&to.tenant, question))
        })
    }

    fn offline_messages<'a>(
        &'a self,
        _to: &'a HookTarget,
        _user: &'a str,
        _device: &'a str,
        max_messages: u32,
        cursor: &'a str,
    ) -> LocalFuture<'a, Result<OfflinePage, HookFailure>> {
        let start = cursor.parse().unwrap_or(0);
        let end = self.stored.len().min(start + max_messages as usize);
        let (messages, has_more) = (self.stored[start..end].to_vec(), end < self.stored.len());
        Box::pin(async move { Ok(OfflinePage { ok: true, messages, next_cursor: end.to_string(), has_more }) })
    }
}
