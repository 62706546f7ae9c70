//! The same question to every node of the cluster at once, this one included. A node that does not answer is told apart.

use std::sync::Arc;

use futures_util::future::join_all;
use mics_actors::node::Node;
use mics_actors::ports::PeerNode as _;
use mics_domain::ports::{LinkError, Peer, PeerAnswer, PeerCall};
use mics_domain::report::NodeReport;

/// A node and what it answered.
pub struct Answered {
    pub peer: Peer,
    /// This node.
    pub here: bool,
    pub answer: Result<PeerAnswer, LinkError>,
}

/// In the order of the nodes' ids.
pub async fn ask_all(node: &Arc<Node>, call: &PeerCall) -> Vec<Answered> {
    let calls = node.members.live().into_iter().map(|peer| async move {
        let here = peer.node == node.id;
        let answer = match here {
            true => Ok(node.answer(call.clone())),
            false => node.router().call(&peer.endpoint, call.clone()).await,
        };
        Answered { peer, here, answer }
    });
    join_all(calls).await
}

/// A node's figures, unless it did not tell them.
pub struct Reported {
    pub peer: Peer,
    pub here: bool,
    pub report: Result<NodeReport, String>,
}

/// Figures of all nodes, with those of these tenants.
pub async fn reports(node: &Arc<Node>, tenants: Vec<Arc<str>>) -> Vec<Reported> {
    let answers = ask_all(node, &PeerCall::Report { tenants }).await;
    let reported = |answered: Answered| {
        let report = match answered.answer {
            Ok(PeerAnswer::Report(report)) => Ok(*report),
            Ok(_) => Err("answered another question".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        Reported { peer: answered.peer, here: answered.here, report }
    };
    answers.into_iter().map(reported).collect()
}
