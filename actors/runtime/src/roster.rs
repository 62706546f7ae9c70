//! Who is in a group: asked of the tenant page by page, or known from before where the tenant allows it. Must not deliver
//! anything, nor hold more than the page in hand, unless the tenant has lists kept.

use std::rc::Rc;
use std::sync::{Arc, PoisonError};

use mics_domain::codes::Refusal;
use mics_domain::policy::{HookFailure, HookOp, HookPolicy, members_reason};
use mics_domain::ports::{HookTarget, MembersPage, MembersQuestion};
use mics_domain::roster::{Distinct, List, Page};
use mics_domain::trace::{SpanKind, TraceParent, Traced};

use crate::node::clock_ms;
use crate::sender::Sender;
use crate::tenant::{Guards, LISTED_MEMBERS};

/// Hook calls that one message is worth: enough for the default limit of members in pages of the smallest size.
const MAX_PAGES: u32 = 1_000;

/// A group's members, page by page. At the end it knows whether that was all of them.
pub struct Roster {
    asker: Asker,
    next: Next,
    distinct: Distinct,
    /// Members given out so far.
    listed: usize,
    /// Why members are missing: the reason of an ack.
    cut: Option<&'static str>,
    /// The pages so far, where the tenant has lists kept.
    keeping: Option<Vec<Page>>,
    version: String,
    asked_ms: u64,
}

/// What [`Roster::next`] gives out next.
enum Next {
    /// Pages of a list that is known, from this one on.
    Known(Arc<List>, usize),
    /// A page that the hook has answered.
    Answered(MembersPage),
    /// The page at this cursor.
    Ask(String),
    End,
}

impl Roster {
    /// Asks for the first page, unless the members are known. Errs with the reason of the ack.
    pub async fn open(
        from: &Rc<Sender>,
        guards: &Arc<Guards>,
        group: &str,
        trace: Option<TraceParent>,
    ) -> Result<Roster, &'static str> {
        let mut asker = Asker::new(from, guards, group, trace);
        let (ttl_ms, now_ms) = (from.config.group_cache_ttl_ms, clock_ms());
        let known = if ttl_ms > 0 { asker.known() } else { None };
        let next = match known {
            Some((list, asked_ms)) if now_ms < asked_ms.saturating_add(ttl_ms) => {
                asker.count("cached");
                Next::Known(list, 0)
            }
            known => asker.first(known.map(|(list, _)| list), now_ms).await?,
        };
        let (version, keeping) = match &next {
            Next::Answered(page) => (page.version.clone(), (ttl_ms > 0).then(Vec::new)),
            _ => (String::new(), None),
        };
        let distinct = Distinct::default();
        Ok(Roster { asker, next, distinct, listed: 0, cut: None, keeping, version, asked_ms: now_ms })
    }

    /// The next members, each given once; `None` after the last. A failed call, and the limit of members, end the list.
    pub async fn next(&mut self) -> Option<Page> {
        loop {
            let page = match std::mem::replace(&mut self.next, Next::End) {
                Next::End => return None,
                Next::Known(list, index) => {
                    let page = list.pages.get(index)?.clone();
                    self.next = Next::Known(list, index + 1);
                    return Some(self.give(page));
                }
                Next::Answered(page) => page,
                Next::Ask(cursor) => match self.asker.page(cursor).await {
                    Ok(page) => page,
                    Err(reason) => {
                        self.cut = Some(reason);
                        return None;
                    }
                },
            };
            let members = self.take(page);
            if !members.is_empty() {
                return Some(self.give(members.into()));
            }
        }
    }

    /// How many members to expect at most; endless while further pages are unknown.
    pub fn expected(&self) -> usize {
        match &self.next {
            Next::Known(list, _) => list.pages.iter().map(|page| page.len()).sum(),
            Next::Answered(page) if page.next_cursor.is_empty() => page.members.len(),
            Next::Answered(_) | Next::Ask(_) => usize::MAX,
            Next::End => 0,
        }
    }

    /// Once it ended: why it is not the whole group, `None` when it is.
    pub fn incomplete(&self) -> Option<&'static str> {
        self.cut.or((self.listed == 0).then(|| Refusal::GroupEmpty.reason()))
    }

    /// The members of a page who count, and what comes after it.
    fn take(&mut self, page: MembersPage) -> Vec<Arc<str>> {
        let before = self.distinct.len();
        let mut members = self.distinct.page(page.members);
        let over = self.distinct.len().saturating_sub(self.asker.from.node.settings.group_max_members);
        if over > 0 {
            self.asker.count_over(over as u64);
            self.cut = Some(Refusal::GroupTooLarge.reason());
            // Nobody has the message yet: then nobody gets it. Later on, those within the limit do.
            members.truncate(if before == 0 { 0 } else { members.len() - over });
            return members;
        }
        // A list that changed between its pages is good for this message only; one that is too long would not be kept.
        if page.version != self.version || self.distinct.len() > LISTED_MEMBERS {
            self.keeping = None;
        }
        self.next = if page.next_cursor.is_empty() { Next::End } else { Next::Ask(page.next_cursor) };
        self.remember(&members);
        members
    }

    fn remember(&mut self, members: &[Arc<str>]) {
        let Some(keeping) = &mut self.keeping else { return };
        if !members.is_empty() {
            keeping.push(members.into());
        }
        // A group that is empty now may have been made just before: that is asked again.
        if matches!(self.next, Next::End) && !self.distinct.is_empty() {
            let list = List { pages: self.keeping.take().unwrap_or_default(), version: self.version.clone() };
            self.asker.keep(Arc::new(list), self.asked_ms);
        }
    }

    fn give(&mut self, page: Page) -> Page {
        self.asker.count_members(self.listed == 0, page.len() as u64);
        self.listed += page.len();
        page
    }
}

/// The hook, asked about one group; and what is kept of its answers.
struct Asker {
    from: Rc<Sender>,
    guards: Arc<Guards>,
    group: String,
    trace: Option<TraceParent>,
    target: HookTarget,
    policy: HookPolicy,
    pages: u32,
}

impl Asker {
    fn new(from: &Rc<Sender>, guards: &Arc<Guards>, group: &str, trace: Option<TraceParent>) -> Self {
        let (target, policy) = from.tenant.hook_target(&from.config, &from.node, &from.trace_id);
        Asker { from: from.clone(), guards: guards.clone(), group: group.to_owned(), trace, target, policy, pages: 0 }
    }

    /// The first page; or the old list, when the tenant says that it is still right.
    async fn first(&mut self, old: Option<Arc<List>>, now_ms: u64) -> Result<Next, &'static str> {
        let known_version = old.as_ref().map(|list| list.version.clone()).unwrap_or_default();
        let page = self.ask(MembersQuestion { known_version, ..self.question() }).await?;
        match old {
            Some(list) if page.not_modified => {
                self.keep(list.clone(), now_ms);
                Ok(Next::Known(list, 0))
            }
            _ => Ok(Next::Answered(page)),
        }
    }

    async fn page(&mut self, cursor: String) -> Result<MembersPage, &'static str> {
        if self.pages >= MAX_PAGES {
            return Err(Refusal::GroupTooLarge.reason());
        }
        self.ask(MembersQuestion { cursor, ..self.question() }).await
    }

    fn question(&self) -> MembersQuestion {
        let max_members = self.from.config.group_page_size;
        MembersQuestion { group: self.group.clone(), max_members, ..MembersQuestion::default() }
    }

    /// One hook call: its own permit, its own time, counted by the breaker.
    async fn ask(&mut self, question: MembersQuestion) -> Result<MembersPage, &'static str> {
        self.pages += 1;
        let (node, tenant) = (&self.from.node, &self.from.tenant);
        let mut traced = Traced::child(&*node.tracer, "get_group_members", SpanKind::Client, self.trace);
        self.target.trace = traced.place();
        let call = async { sensible(&question, node.hooks.group_members(&self.target, &question).await?) };
        let gate = self.guards.gate(HookOp::GetGroupMembers);
        let answer = gate.call(&node.metrics, &self.policy, &self.target, call).await;
        self.count(if answer.is_ok() { "ok" } else { "fail" });
        answer.map_err(|failure| {
            traced.fail(failure.label());
            node.metrics.hook_degraded_total.with_label_values(&[&*tenant.id, "GetGroupMembers"]).inc();
            members_reason(&failure)
        })
    }

    fn known(&self) -> Option<(Arc<List>, u64)> {
        self.guards.lists.lock().unwrap_or_else(PoisonError::into_inner).get(&self.group)
    }

    fn keep(&self, list: Arc<List>, asked_ms: u64) {
        self.guards.lists.lock().unwrap_or_else(PoisonError::into_inner).keep(&self.group, list, asked_ms);
    }

    fn count(&self, result: &str) {
        let lookups = &self.from.node.metrics.hook_get_group_members_total;
        lookups.with_label_values(&[&*self.from.tenant.id, result]).inc();
    }

    fn count_members(&self, first: bool, members: u64) {
        let (metrics, tenant) = (&self.from.node.metrics, [&*self.from.tenant.id]);
        metrics.group_messages_total.with_label_values(&tenant).inc_by(u64::from(first));
        metrics.group_members_total.with_label_values(&tenant).inc_by(members);
    }

    fn count_over(&self, over: u64) {
        let (metrics, tenant) = (&self.from.node.metrics, [&*self.from.tenant.id]);
        metrics.group_members_over_limit_total.with_label_values(&tenant).inc_by(over);
        metrics.group_members_capped_total.with_label_values(&tenant).inc_by(over);
    }
}

/// An answer that leads nowhere is none: "as you know it" to somebody who knows nothing, or the same cursor again.
fn sensible(question: &MembersQuestion, page: MembersPage) -> Result<MembersPage, HookFailure> {
    let unasked = page.not_modified && question.known_version.is_empty();
    let in_a_circle = !page.next_cursor.is_empty() && page.next_cursor == question.cursor;
    if unasked || in_a_circle { Err(HookFailure::Decode) } else { Ok(page) }
}
