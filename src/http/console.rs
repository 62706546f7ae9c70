//! The developer's live view: a WebSocket that sends the actor tree and the latest events once a second. Low volume, so
//! it is an ordinary `actix-web-actors` session.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_web::web::{Data, Payload};
use actix_web::{Error, HttpRequest, HttpResponse};
use actix_web_actors::ws;
use mics_actors::node::Node;
use mics_domain::event::Event;
use serde_json::{Value, json};

pub const PATH: &str = "/debug/live";
const EVERY: Duration = Duration::from_secs(1);

struct Console {
    node: Arc<Node>,
}

impl Actor for Console {
    type Context = ws::WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(EVERY, |console, ctx| {
            let node = console.node.clone();
            let view = async move {
                json!({ "node": &*node.id, "actors": node.observe().await, "events": recent_events(&node) }).to_string()
            };
            ctx.spawn(view.into_actor(console).map(|text, _, ctx| ctx.text(text)));
        });
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Console {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, ctx: &mut Self::Context) {
        match message {
            Ok(ws::Message::Ping(payload)) => ctx.pong(&payload),
            Ok(ws::Message::Close(reason)) => {
                ctx.close(reason);
                ctx.stop();
            }
            Ok(_) => {}
            Err(_) => ctx.stop(),
        }
    }
}

pub async fn open(node: Data<Node>, request: HttpRequest, payload: Payload) -> Result<HttpResponse, Error> {
    ws::start(Console { node: node.into_inner() }, &request, payload)
}

/// The latest events without their content.
pub fn recent_events(node: &Node) -> Value {
    let view = |event: Event| {
        json!({
            "type": event.kind.label(), "tenant": &*event.tenant, "user": &*event.user, "to": event.to_user,
            "group": event.group, "msg_id": event.msg_id, "at_ms": event.at_ms,
        })
    };
    node.events.recent().into_iter().rev().take(100).rev().map(view).collect()
}
