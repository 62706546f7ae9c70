//! A tenant's back end: every token is a user, groups are fixed, and a body that begins with "deny" is denied.

use std::collections::HashMap;

use mics_domain::message::Message;
use mics_domain::policy::HookFailure;
use mics_domain::ports::{AuthAnswer, CheckAnswer, HookTarget, Hooks, Identity, LocalFuture, OfflinePage};
use mics_domain::tenant::TenantConfig;

pub const DENIED: &str = "denied by rule";

pub struct BackEnd {
    pub config: TenantConfig,
    pub groups: HashMap<String, Vec<String>>,
}

impl Hooks for BackEnd {
    fn auth<'a>(
        &'a self,
        _: &'a HookTarget,
        token: &'a str,
        _: &'a str,
    ) -> LocalFuture<'a, Result<AuthAnswer, HookFailure>> {
        let identity = Identity { user: token.to_owned(), config: self.config.clone() };
        Box::pin(async move { Ok(AuthAnswer::Accepted(Box::new(identity))) })
    }

    fn check_message<'a>(
        &'a self,
        _: &'a HookTarget,
        message: &'a Message,
    ) -> LocalFuture<'a, Result<CheckAnswer, HookFailure>> {
        let allow = !message.body.starts_with(b"deny");
        // Checks of one connection may end in another order than they began.
        let takes = u64::from(message.body.last().copied().unwrap_or(0) % 4);
        Box::pin(async move {
            tokio::time::sleep(std::time::Duration::from_millis(takes)).await;
            Ok(CheckAnswer { allow, reason: if allow { String::new() } else { DENIED.into() } })
        })
    }

    fn group_members<'a>(
        &'a self,
        _: &'a HookTarget,
        group: &'a str,
    ) -> LocalFuture<'a, Result<Vec<String>, HookFailure>> {
        let members = self.groups.get(group).cloned().unwrap_or_default();
        Box::pin(async move { Ok(members) })
    }

    fn offline_messages<'a>(
        &'a self,
        _: &'a HookTarget,
        _: &'a str,
        _: &'a str,
        _: u32,
        _: &'a str,
    ) -> LocalFuture<'a, Result<OfflinePage, HookFailure>> {
        Box::pin(async { Ok(OfflinePage::default()) })
    }
}
