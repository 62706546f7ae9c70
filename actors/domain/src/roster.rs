//! Member lists: which ids of a page count, and lists kept for tenants who ask for that. Must not ask anybody, nor decide
//! how long a list is believed: that is the tenant's choice.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;

use crate::ids;

/// Usable, distinct members in the order listed.
pub type Page = Arc<[Arc<str>]>;

/// Members seen so far, over all pages of one list, as hashes of 16 bytes.
#[derive(Debug, Default)]
pub struct Distinct {
    hashers: [RandomState; 2],
    seen: HashSet<u128>,
}

impl Distinct {
    /// What of `members` is usable and new.
    pub fn page(&mut self, members: Vec<String>) -> Vec<Arc<str>> {
        let usable = members.into_iter().filter(|member| !ids::is_blank(member) && ids::check_id(member).is_ok());
        usable.filter(|member| self.first(member)).map(Arc::from).collect()
    }

    pub fn len(&self) -> usize {
        self.seen.len()
    }

    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    fn first(&mut self, member: &str) -> bool {
        let [high, low] = self.hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(member)));
        self.seen.insert(high << 64 | low)
    }
}

/// A whole member list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    pub pages: Vec<Page>,
    /// Empty = the tenant did not tell.
    pub version: String,
}

impl List {
    fn members(&self) -> usize {
        self.pages.iter().map(|page| page.len()).sum()
    }
}

/// The lists of one tenant, bounded by groups and by members; the one longest not asked for goes first.
#[derive(Debug)]
pub struct Lists {
    max_groups: usize,
    max_members: usize,
    members: usize,
    known: HashMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    list: Arc<List>,
    /// When the tenant was last asked about it, ms.
    asked_ms: u64,
}

impl Lists {
    pub fn new(max_groups: usize, max_members: usize) -> Self {
        Lists { max_groups, max_members, members: 0, known: HashMap::new() }
    }

    /// The group's list and when the tenant was last asked about it (ms).
    pub fn get(&self, group: &str) -> Option<(Arc<List>, u64)> {
        self.known.get(group).map(|known| (known.list.clone(), known.asked_ms))
    }

    /// Keeps a list that the tenant was asked for at `asked_ms`, unless a later answer is known or it is too large.
    pub fn keep(&mut self, group: &str, list: Arc<List>, asked_ms: u64) {
        if self.known.get(group).is_some_and(|known| known.asked_ms > asked_ms) {
            return;
        }
        self.forget(group);
        let members = list.members();
        if members > self.max_members || self.max_groups == 0 {
            return;
        }
        while self.known.len() >= self.max_groups || self.members + members > self.max_members {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.asked_ms).map(|(group, _)| group.clone());
            let Some(oldest) = oldest else { break };
            self.forget(&oldest);
        }
        self.members += members;
        self.known.insert(group.to_owned(), Known { list, asked_ms });
    }

    fn forget(&mut self, group: &str) {
        if let Some(known) = self.known.remove(group) {
            self.members -= known.list.members();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(members: usize) -> Arc<List> {
        let page: Page = (0..members).map(|n| Arc::from(n.to_string())).collect();
        Arc::new(List { pages: vec![page], version: members.to_string() })
    }

    #[test]
    fn members_count_once_over_all_pages_and_unusable_ones_never() {
        let mut distinct = Distinct::default();
        let mut page = |members: &[&str]| distinct.page(members.iter().map(|m| (*m).to_owned()).collect());
        assert_eq!(page(&["b", "a", "b", "", " ", "x\0"]), ["b".into(), "a".into()]);
        assert_eq!(page(&["a", "c", "b"]), ["c".into()]);
        assert_eq!(distinct.len(), 3);
    }

    #[test]
    fn the_list_asked_for_longest_ago_makes_room() {
        let mut lists = Lists::new(2, 100);
        lists.keep("a", list(1), 10);
        lists.keep("b", list(2), 20);
        lists.keep("a", list(3), 30);
        lists.keep("c", list(4), 40);
        assert!(lists.get("b").is_none());
        assert_eq!(lists.get("a"), Some((list(3), 30)));
        assert_eq!(lists.members, 7);
    }

    #[test]
    fn members_are_bounded_and_a_list_beyond_the_bound_is_not_kept() {
        let mut lists = Lists::new(10, 10);
        lists.keep("a", list(6), 1);
        lists.keep("b", list(4), 2);
        lists.keep("c", list(5), 3);
        assert!(lists.get("a").is_none() && lists.get("b").is_some());
        lists.keep("b", list(11), 4);
        assert!(lists.get("b").is_none(), "what is known of it is old");
        assert_eq!((lists.known.len(), lists.members), (1, 5));
    }

    #[test]
    fn an_earlier_answer_that_comes_late_changes_nothing() {
        let mut lists = Lists::new(10, 10);
        lists.keep("a", list(1), 5);
        lists.keep("a", list(2), 4);
        assert_eq!(lists.get("a"), Some((list(1), 5)));
    }
}
