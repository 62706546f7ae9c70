//! Which node is a user's home: highest random weight. All nodes must come to the same answer, so nothing here depends
//! on anything but the three names.

use sha2::{Digest, Sha256};

/// A node's score and index.
type Scored = Option<(u64, usize)>;

/// Index in `nodes` of the user's home node; `None` only for an empty list. On a tie the first wins.
pub fn home(tenant: &str, user: &str, nodes: &[impl AsRef<str>]) -> Option<usize> {
    ranked2(tenant, user, nodes).0
}

/// First and second choice: the home node, and the node that is home when the first is gone (it holds the replica).
pub fn ranked2(tenant: &str, user: &str, nodes: &[impl AsRef<str>]) -> (Option<usize>, Option<usize>) {
    let prefix = Sha256::new().chain_update(tenant).chain_update(":").chain_update(user).chain_update(":");
    let (mut first, mut second) = (None, None);
    for (index, node) in nodes.iter().enumerate() {
        let candidate = Some((score(&prefix, node.as_ref()), index));
        if beats(candidate, first) {
            second = first;
            first = candidate;
        } else if beats(candidate, second) {
            second = candidate;
        }
    }
    (first.map(|(_, index)| index), second.map(|(_, index)| index))
}

/// A digest of a list of nodes, the same for every build.
pub fn digest<'a>(nodes: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hasher = Sha256::new();
    for node in nodes {
        hasher.update((node.len() as u64).to_le_bytes());
        hasher.update(node);
    }
    let mut head = [0; 8];
    head.copy_from_slice(&hasher.finalize()[..8]);
    u64::from_le_bytes(head)
}

/// Strictly greater score, so that the earlier of two equals keeps its place.
fn beats(candidate: Scored, holder: Scored) -> bool {
    candidate.map(|(score, _)| score) > holder.map(|(score, _)| score)
}

/// First 8 bytes of SHA-256(`tenant:user:node`), little endian.
fn score(prefix: &Sha256, node: &str) -> u64 {
    let digest = prefix.clone().chain_update(node).finalize();
    let mut head = [0; 8];
    head.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(tenant: &str, user: &str) -> [u64; 3] {
        let prefix = Sha256::new().chain_update(format!("{tenant}:{user}:"));
        ["node-1", "node-2", "node-3"].map(|node| score(&prefix, node))
    }

    #[test]
    fn scores_and_winners_are_those_of_the_contract() {
        let cases = [
            ("t1", "u1", [16994798975498368675, 8947039431956094595, 9130369818575671679], 1, 3),
            ("t1", "u2", [13423459191619470975, 226992340444310663, 12487498344710048862], 1, 3),
            ("t1", "u3", [5064532041223157172, 5646505060006481819, 10613487433734108939], 3, 2),
            ("t1", "alice", [5886544387950935906, 3267971233640910922, 9037923170947749852], 3, 1),
            ("t1", "bob", [14295102049172793592, 15754550058454658127, 12472209298511048265], 2, 1),
            ("t2", "u1", [12751280748185656903, 16676317029769524038, 79868781686061697], 2, 1),
            ("t1", "张三", [7534332608477131050, 11544114329206068639, 5809298415709348774], 2, 1),
            ("", "", [14089700746594968767, 2147404486543662577, 2636911358230916989], 1, 3),
        ];
        let nodes = ["node-1", "node-2", "node-3"];
        for (tenant, user, want, winner, runner_up) in cases {
            assert_eq!(scores(tenant, user), want, "{tenant}/{user}");
            assert_eq!(ranked2(tenant, user, &nodes), (Some(winner - 1), Some(runner_up - 1)), "{tenant}/{user}");
            let rest: Vec<_> = nodes.into_iter().filter(|n| *n != nodes[winner - 1]).collect();
            assert_eq!(home(tenant, user, &rest).map(|i| rest[i]), Some(nodes[runner_up - 1]), "{tenant}/{user}");
        }
    }

    fn counts(users: usize, nodes: &[String]) -> Vec<usize> {
        let mut counts = vec![0; nodes.len()];
        for user in 0..users {
            counts[home("t1", &format!("u{user}"), nodes).unwrap()] += 1;
        }
        counts
    }

    fn nodes(n: usize) -> Vec<String> {
        (1..=n).map(|i| format!("n{i}")).collect()
    }

    #[test]
    fn users_spread_over_nodes_as_in_the_contract() {
        assert_eq!(counts(3000, &nodes(3)), [1050, 983, 967]);
        let hundred = counts(10_000, &nodes(100));
        assert_eq!((hundred.iter().min(), hundred.iter().max()), (Some(&81), Some(&125)));
    }

    #[test]
    fn a_new_node_takes_its_share_and_moves_nobody_else() {
        let (before, after) = (nodes(3), nodes(4));
        let moves = |u: &usize| {
            let user = format!("u{u}");
            let (old, new) = (home("t1", &user, &before), home("t1", &user, &after));
            assert!(old == new || new == Some(3));
            old != new
        };
        assert_eq!((0..1000).filter(moves).count(), 250);
    }

    #[test]
    fn few_or_equal_nodes() {
        assert_eq!(ranked2("t1", "u1", &[] as &[&str]), (None, None));
        assert_eq!(ranked2("t1", "u1", &["a"]), (Some(0), None));
        assert_eq!(ranked2("t1", "u1", &["a", "a", "a"]), (Some(0), Some(1)));
    }
}
