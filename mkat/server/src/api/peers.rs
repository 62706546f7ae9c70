//! Pairing with other instances. What two instances say to each other during pairing is open to strangers: they show
//! the one-time secret, or the token that was issued to them.

use super::input::{Fields, JsonObject};
use super::origin::{base_url, client_address};
use super::throttle::Throttle;
use super::{Access, Endpoint};
use crate::app::App;
use crate::domain::pairing::{self, NAME_MAX, PairingToken, URL_MAX};
use crate::domain::{Timestamp, token};
use crate::engine::peers::{self as engine, IssuedTokens, Watch};
use crate::error::{Code, Error, Result};
use crate::notify::http;
use crate::store::peers::{self, NewPeer, PeerRow};
use crate::store::{monitors, services};
use actix_web::{HttpRequest, HttpResponse, web};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::time::Duration;

/// What a peer may ask for, in seconds between heartbeats.
const INTERVALS: std::ops::RangeInclusive<i64> = 1..=3600;
const DEFAULT_INTERVAL: i64 = 30;
const TIMEOUT: Duration = Duration::from_secs(10);

/// Wrong secrets and tokens by address.
static STRANGERS: Throttle = Throttle::new();

pub fn endpoints() -> Vec<Endpoint> {
    use Access::{Public, User};
    vec![
        Endpoint::get("/api/v1/peers", User, "List peers", |route| route.to(list)).returns("Peers"),
        Endpoint::delete("/api/v1/peers/{id}", User, "Unpair", |route| route.to(unpair)),
        Endpoint::post("/api/v1/peers/pair/initiate", User, "Make a pairing token, good for ten minutes", |route| {
            route.to(initiate)
        })
        .body("PairInitiate")
        .returns("PairToken"),
        Endpoint::post("/api/v1/peers/pair/complete", User, "Pair with the instance that made a token", |route| {
            route.to(complete)
        })
        .body("PairComplete")
        .returns("Peer"),
        Endpoint::post("/api/v1/peers/pair/accept", Public, "Called by the other instance while pairing", |route| {
            route.to(accept)
        })
        .body("PairAccept")
        .returns("PairAccepted"),
        Endpoint::post("/api/v1/peers/pair/unpair", Public, "Called by the other instance when it unpairs", |route| {
            route.to(unpaired)
        })
        .body("PairUnpair"),
    ]
}

fn view(db: &Connection, peer: &PeerRow) -> Result<Value> {
    let service = services::find(db, &peer.service_id)?;
    let heard =
        monitors::of_service(db, &peer.service_id)?.into_iter().filter_map(|monitor| monitor.last_check_in).max();
    Ok(json!({
        "id": peer.id, "name": peer.name, "url": peer.url, "serviceId": peer.service_id, "pairedAt": peer.paired_at,
        "heartbeatIntervalSeconds": peer.interval_seconds, "serviceState": service.map(|service| service.state),
        "twoWay": peer.two_way, "lastReceivedAt": heard, "lastSentAt": peer.last_sent_at,
        "lastDeliveredAt": peer.last_success_at, "lastError": peer.last_error, "forgotten": peer.forgotten,
        "reportedBroken": peer.reported_broken,
    }))
}

async fn list(app: web::Data<App>) -> Result<HttpResponse> {
    let found = app.read(|db| peers::list(db)?.iter().map(|peer| view(db, peer)).collect::<Result<Vec<_>>>()).await?;
    Ok(HttpResponse::Ok().json(found))
}

async fn initiate(request: HttpRequest, app: web::Data<App>, JsonObject(body): JsonObject) -> Result<HttpResponse> {
    let mut fields = Fields::new(body);
    let name = fields.required_text("Name", NAME_MAX);
    fields.finish()?;
    let expires_at = Timestamp::now().plus_seconds(pairing::LIFETIME);
    let token = PairingToken { url: base_url(&request, &app.config), name, secret: token::new_secret(), expires_at };
    let text = token.encode();
    app.write(move |tx| engine::offer(tx, &token.secret, token.expires_at)).await?;
    Ok(HttpResponse::Ok().json(json!({"token": text, "expiresAt": expires_at})))
}

async fn complete(request: HttpRequest, app: web::Data<App>, JsonObject(body): JsonObject) -> Result<HttpResponse> {
    let mut fields = Fields::new(body);
    let text = fields.required_text("Token", 4096);
    let replace = fields.boolean("Replace").unwrap_or(false);
    fields.finish()?;
    let offer = read_offer(&text)?;
    let own_url = base_url(&request, &app.config);
    refuse_self_and_known(&app, &offer, &own_url, replace).await?;
    let tokens = IssuedTokens::new();
    let accepted = ask(&app, &offer, &own_url, &tokens).await?;
    let new = NewPeer {
        name: offer.name,
        url: offer.url,
        heartbeat_token: accepted.heartbeat_token,
        webhook_token: accepted.webhook_token,
        two_way: accepted.two_way,
        interval_seconds: accepted.interval_seconds,
    };
    let watch = Watch { tokens, interval_seconds: app.config.peer_interval, awaited: new.two_way };
    let stored = {
        let new = new.clone();
        app.write(move |tx| view(tx, &engine::pair(tx, &new, &watch)?)).await
    };
    match stored {
        Ok(peer) => Ok(HttpResponse::Ok().json(peer)),
        Err(error) => {
            // The other side has paired already; it need not wait for us.
            tell_unpaired(&app, &new.url, &own_url, &new.heartbeat_token).await;
            Err(error)
        }
    }
}

fn read_offer(text: &str) -> Result<PairingToken> {
    let offer = PairingToken::decode(text)
        .ok_or_else(|| Error::refused(Code::InvalidToken, "this is not a pairing token: copy it as a whole"))?;
    http::target(&offer.url)
        .map_err(|why| Error::refused(Code::InvalidToken, format!("the address in the token {why}")))?;
    if offer.expires_at <= Timestamp::now() {
        return Err(Error::refused(Code::TokenExpired, "the pairing token is too old: make a new one"));
    }
    Ok(offer)
}

async fn refuse_self_and_known(app: &App, offer: &PairingToken, own_url: &str, replace: bool) -> Result<()> {
    let (hash, url) = (token::sha256(&offer.secret), offer.url.clone());
    let (own, known) =
        app.read(move |db| Ok((peers::knows_secret(db, &hash, Timestamp::now())?, peers::of_url(db, &url)?))).await?;
    if own || own_url.eq_ignore_ascii_case(&offer.url) {
        return Err(Error::refused(Code::InvalidToken, "this token was made here: enter it at the other instance"));
    }
    if known.is_some() && !replace {
        let text = "there is a peer with this address already; send \"replace\": true to pair with it anew";
        return Err(Error::refused(Code::PeerExists, text));
    }
    Ok(())
}

/// What the other side answered.
struct Accepted {
    heartbeat_token: String,
    webhook_token: String,
    interval_seconds: i64,
    two_way: bool,
}

async fn ask(app: &App, offer: &PairingToken, own_url: &str, tokens: &IssuedTokens) -> Result<Accepted> {
    let body = json!({
        "secret": offer.secret, "url": own_url, "name": app.config.instance_name,
        "heartbeatToken": tokens.heartbeat, "webhookToken": tokens.webhook,
        "heartbeatIntervalSeconds": app.config.peer_interval,
    });
    let request = app.http.post(format!("{}/api/v1/peers/pair/accept", offer.url)).json(&body);
    let answer = http::exchange(request, TIMEOUT).await.map_err(|error| {
        Error::refused(Code::RemoteUnreachable, format!("the other instance cannot be reached: {}", error.reason))
    })?;
    let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if !answer.is_success() {
        let code = value["code"].as_str().unwrap_or("no reason given").chars().take(60).collect::<String>();
        let text = format!("the other instance refused: {} ({code})", answer.status);
        return Err(Error::refused(Code::RemoteRejected, text));
    }
    read_accepted(&value).ok_or_else(|| {
        Error::refused(Code::RemoteInvalidResponse, "the other instance answered something that is no pairing")
    })
}

fn read_accepted(value: &Value) -> Option<Accepted> {
    let token = |name: &str| value[name].as_str().filter(|text| pairing::is_token(text)).map(str::to_owned);
    let interval = value["heartbeatIntervalSeconds"].as_i64().unwrap_or(DEFAULT_INTERVAL);
    Some(Accepted {
        heartbeat_token: token("heartbeatToken")?,
        webhook_token: token("webhookToken")?,
        interval_seconds: interval.clamp(*INTERVALS.start(), *INTERVALS.end()),
        two_way: value["twoWay"] == true,
    })
}

async fn accept(request: HttpRequest, app: web::Data<App>, JsonObject(body): JsonObject) -> Result<HttpResponse> {
    let address = client_address(&request, &app.config);
    STRANGERS.check(address)?;
    let (secret, new) = read_accept(Fields::new(body))?;
    let two_way = new.two_way;
    let tokens = IssuedTokens::new();
    let interval_seconds = app.config.peer_interval;
    let watch = Watch { tokens: tokens.clone(), interval_seconds, awaited: true };
    let paired = app.write(move |tx| engine::accept(tx, &secret, &new, &watch)).await;
    if paired.as_ref().is_err_and(|error| error.code() == Code::InvalidSecret) {
        STRANGERS.count_wrong(address);
    }
    let peer = paired?;
    tracing::info!(peer = peer.name, url = peer.url, two_way, "paired");
    let mut answer = json!({
        "heartbeatToken": tokens.heartbeat, "webhookToken": tokens.webhook, "heartbeatIntervalSeconds": interval_seconds,
    });
    if two_way {
        answer["twoWay"] = true.into();
    }
    Ok(HttpResponse::Ok().json(answer))
}

fn read_accept(mut fields: Fields) -> Result<(String, NewPeer)> {
    let secret = fields.required_text("Secret", 200);
    let url = fields.required_text("Url", URL_MAX).trim_end_matches('/').to_owned();
    if !url.is_empty()
        && let Err(why) = http::target(&url)
    {
        fields.wrong("Url", why);
    }
    let name = fields.required_text("Name", NAME_MAX);
    let mut token = |key: &str| {
        let text = fields.text(key).filter(|text| !text.is_empty());
        if text.as_ref().is_some_and(|text| !pairing::is_token(text)) {
            fields.wrong(key, "must be a token: letters, digits, - and _");
        }
        text
    };
    let tokens = token("HeartbeatToken").zip(token("WebhookToken"));
    let interval = fields.integer_in("HeartbeatIntervalSeconds", *INTERVALS.start(), *INTERVALS.end());
    fields.finish()?;
    let two_way = tokens.is_some();
    let (heartbeat_token, webhook_token) = tokens.unwrap_or_default();
    let interval_seconds = interval.unwrap_or(DEFAULT_INTERVAL);
    Ok((secret, NewPeer { name, url, heartbeat_token, webhook_token, two_way, interval_seconds }))
}

async fn unpair(request: HttpRequest, app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    let own_url = base_url(&request, &app.config);
    let peer = app
        .write(move |tx| {
            let peer = peers::get(tx, &id)?;
            engine::remove(tx, &peer)?;
            Ok(peer)
        })
        .await?;
    tell_unpaired(&app, &peer.url, &own_url, &peer.heartbeat_token).await;
    Ok(HttpResponse::NoContent().finish())
}

/// Best effort: the peer is gone here in any case.
async fn tell_unpaired(app: &App, url: &str, own_url: &str, token: &str) {
    let body = json!({"url": own_url, "token": token});
    let request = app.http.post(format!("{url}/api/v1/peers/pair/unpair")).json(&body);
    match http::exchange(request, Duration::from_secs(5)).await {
        Ok(answer) if answer.is_success() => tracing::info!(url, "unpaired on both sides"),
        Ok(answer) => tracing::warn!(url, status = answer.status, "the peer did not unpair: do it there as well"),
        Err(error) => tracing::warn!(url, error = error.reason, "the peer cannot be told: unpair there as well"),
    }
}

async fn unpaired(request: HttpRequest, app: web::Data<App>, JsonObject(body): JsonObject) -> Result<HttpResponse> {
    let address = client_address(&request, &app.config);
    STRANGERS.check(address)?;
    let mut fields = Fields::new(body);
    let url = fields.required_text("Url", URL_MAX);
    let shown = fields.optional_text("Token", 200).filter(|text| !text.is_empty());
    fields.finish()?;
    let done = app.write(move |tx| engine::unpaired_by_remote(tx, &url, shown.as_deref())).await;
    if done.as_ref().is_err_and(|error| error.code() == Code::PeerNotFound) {
        STRANGERS.count_wrong(address);
    }
    done?;
    Ok(HttpResponse::Ok().finish())
}
