//! Sign-in of the page: name and password against an HttpOnly cookie.

use super::auth::{COOKIE, Guard, User};
use super::input::{Fields, JsonObject};
use super::{Access, Endpoint, origin};
use crate::app::App;
use crate::domain::{Timestamp, token};
use crate::error::{Code, Error, Result};
use crate::store::sessions;
use actix_web::cookie::{Cookie, SameSite, time};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

pub fn endpoints() -> Vec<Endpoint> {
    let path = "/api/v1/session";
    vec![
        // Public because it is where the credentials are given; JSON only, so no foreign form can post to it.
        Endpoint::post(path, Access::Public, "Sign in; sets the session cookie", |route| route.to(sign_in))
            .body("Credentials")
            .returns("Session"),
        Endpoint::get(path, Access::User, "Who is signed in", |route| route.to(who)).returns("Session"),
        Endpoint::delete(path, Access::User, "Sign out", |route| route.to(sign_out)),
    ]
}

async fn sign_in(
    request: HttpRequest,
    app: web::Data<App>,
    guard: web::Data<Guard>,
    JsonObject(body): JsonObject,
) -> Result<HttpResponse> {
    let mut fields = Fields::new(body);
    let (username, password) = (fields.required_text("Username", 200), fields.required_text("Password", 1000));
    fields.finish()?;
    if !guard.check(origin::client_address(&request, &app.config), &username, &password)? {
        return Err(Error::refused(Code::Unauthorized, "name or password is wrong"));
    }
    let id = token::new_secret();
    let (hash, hours) = (token::sha256(&id), i64::from(app.config.session_hours));
    let name = username.clone();
    let expires = app
        .write(move |tx| {
            let expires = tx.now.plus_seconds(hours * 3600);
            sessions::insert(tx, &hash, &name, tx.now, expires)?;
            Ok(expires)
        })
        .await?;
    let cookie = cookie(&request, &app, id, time::Duration::hours(hours));
    Ok(HttpResponse::Ok().cookie(cookie).json(json!({"username": username, "expiresAt": expires})))
}

fn cookie(request: &HttpRequest, app: &App, value: String, age: time::Duration) -> Cookie<'static> {
    Cookie::build(COOKIE, value)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(origin::base_url(request, &app.config).starts_with("https:"))
        .max_age(age)
        .finish()
}

async fn who(request: HttpRequest, user: web::ReqData<User>, app: web::Data<App>) -> Result<HttpResponse> {
    let expires = match request.cookie(COOKIE) {
        None => None,
        Some(cookie) => {
            let hash = token::sha256(cookie.value());
            app.read(move |db| sessions::find(db, &hash, Timestamp::now())).await?.map(|(_, expires)| expires)
        }
    };
    Ok(HttpResponse::Ok().json(json!({"username": user.into_inner().name, "expiresAt": expires})))
}

async fn sign_out(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse> {
    if let Some(cookie) = request.cookie(COOKIE) {
        let hash = token::sha256(cookie.value());
        app.write(move |tx| sessions::delete(tx, &hash)).await?;
    }
    let gone = cookie(&request, &app, String::new(), time::Duration::ZERO);
    Ok(HttpResponse::NoContent().cookie(gone).finish())
}
