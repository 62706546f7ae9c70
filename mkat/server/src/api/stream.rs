//! Server-sent events: what changed, as it happens.

use super::{Access, Endpoint};
use crate::app::App;
use crate::error::{Code, Error, Result};
use crate::feed::{Frame, Subscription};
use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::Instant;

/// A comment this often keeps proxies from closing a quiet stream, and shows us who is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// A stream ends after this time; the client comes back with `Last-Event-ID` and shows its credentials again.
const LONGEST: Duration = Duration::from_secs(3600);
const MAX_STREAMS: usize = 200;

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/api/v1/events/stream", Access::User, "Live events (text/event-stream)", |route| {
            route.to(listen)
        })
        .query(&["lastEventId"]),
    ]
}

async fn listen(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse> {
    let mut response = HttpResponse::Ok();
    response.content_type("text/event-stream").insert_header(("x-accel-buffering", "no"));
    if request.method() == Method::HEAD {
        return Ok(response.finish());
    }
    if app.feed.listeners() >= MAX_STREAMS {
        return Err(Error::refused(Code::RateLimited, format!("there are {MAX_STREAMS} listeners already")));
    }
    let header = request.headers().get("last-event-id").map(|value| value.to_str().unwrap_or("?").to_owned());
    let last_seen = header.or_else(|| super::input::query(&request).text("LastEventId"));
    let Subscription { missed, live } = app.feed.subscribe(last_seen.as_deref());
    let mut ready = VecDeque::from([Frame::from("retry: 3000\n: mkat\n\n")]);
    ready.extend(missed);
    let open = Open { app: app.get_ref().clone(), ready, live, until: Instant::now() + LONGEST };
    Ok(response.streaming(stream::unfold(open, next)))
}

struct Open {
    app: App,
    /// To be sent before anything that is awaited.
    ready: VecDeque<Frame>,
    live: Receiver<Frame>,
    until: Instant,
}

async fn next(mut open: Open) -> Option<(std::result::Result<Bytes, actix_web::Error>, Open)> {
    let frame = match open.ready.pop_front() {
        Some(frame) => frame,
        None => tokio::select! {
            () = open.app.stop.cancelled() => return None,
            () = tokio::time::sleep_until(open.until) => return None,
            () = tokio::time::sleep(KEEP_ALIVE) => ": keep-alive\n\n".into(),
            received = open.live.recv() => match received {
                Ok(frame) => frame,
                Err(RecvError::Lagged(_)) => {
                    // What it missed is not sent; what follows the reset is.
                    open.live = open.live.resubscribe();
                    open.app.feed.reset()
                }
                Err(RecvError::Closed) => return None,
            },
        },
    };
    Some((Ok(Bytes::copy_from_slice(frame.as_bytes())), open))
}
