//! Contacts, their channels, and which contacts look after a service.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};
use rusqlite::Connection;
use serde_json::{Map, Value, json};

use super::channels::{self, channel_json};
use super::endpoint::{Access, Endpoint};
use super::input::{Fields, JsonObject};
use crate::app::App;
use crate::domain::ChannelType;
use crate::error::{Code, Error, Result};
use crate::notify::{Channel, config};
use crate::store::contacts::{self, ContactRow};
use crate::store::services;

const NAME_MAX: usize = 200;
const CONTACTS_MAX: usize = 100;

pub fn endpoints() -> Vec<Endpoint> {
    const ALL: &str = "/api/v1/contacts";
    const ONE: &str = "/api/v1/contacts/{id}";
    const CHANNELS: &str = "/api/v1/contacts/{id}/channels";
    const CHANNEL: &str = "/api/v1/contacts/{id}/channels/{channelId}";
    const TEST: &str = "/api/v1/contacts/{id}/channels/{channelId}/test";
    const OF_SERVICE: &str = "/api/v1/services/{id}/contacts";
    let user = Access::User;
    vec![
        Endpoint::get(ALL, user, "All contacts, by name", |route| route.to(list)).returns("ContactList"),
        Endpoint::post(ALL, user, "Create a contact", |route| route.to(create))
            .body("ContactInput")
            .status(201)
            .returns("Contact"),
        Endpoint::get(ONE, user, "One contact with its channels", |route| route.to(get)).returns("Contact"),
        Endpoint::put(ONE, user, "Rename a contact", |route| route.to(rename)).body("ContactInput").returns("Contact"),
        Endpoint::delete(ONE, user, "Delete a contact", |route| route.to(delete)),
        Endpoint::post(CHANNELS, user, "Add a channel to a contact", |route| route.to(add_channel))
            .body("ChannelInput")
            .status(201)
            .returns("Channel"),
        Endpoint::put(CHANNEL, user, "Change a channel", |route| route.to(update_channel))
            .body("ChannelUpdate")
            .returns("Channel"),
        Endpoint::delete(CHANNEL, user, "Remove a channel", |route| route.to(delete_channel)),
        Endpoint::post(TEST, user, "Send a test message", |route| route.to(test_channel)).returns("TestResult"),
        Endpoint::get(OF_SERVICE, user, "Contacts of a service; none: the default contact", |route| {
            route.to(of_service)
        })
        .returns("ContactList"),
        Endpoint::put(OF_SERVICE, user, "Replace the contacts of a service", |route| route.to(assign))
            .body("ServiceContactsInput")
            .returns("Assigned"),
    ]
}

async fn list(app: web::Data<App>) -> Result<HttpResponse> {
    let body = app.read(|db| contacts_json(db, contacts::all(db)?)).await?;
    Ok(HttpResponse::Ok().json(body))
}

async fn create(app: web::Data<App>, body: JsonObject) -> Result<HttpResponse> {
    let name = contact_name(body.0)?;
    let (id, contact) = app
        .write(move |tx| {
            let id = contacts::insert(tx, &name, false, tx.now)?;
            tx.emit(crate::signals::Event::ContactsChanged);
            let contact = contact_json(tx, &contacts::get(tx, &id)?)?;
            Ok((id, contact))
        })
        .await?;
    Ok(HttpResponse::Created().insert_header((LOCATION, format!("/api/v1/contacts/{id}"))).json(contact))
}

async fn get(app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    let contact = app.read(move |db| contact_json(db, &contacts::get(db, &id)?)).await?;
    Ok(HttpResponse::Ok().json(contact))
}

async fn rename(app: web::Data<App>, id: web::Path<String>, body: JsonObject) -> Result<HttpResponse> {
    let name = contact_name(body.0)?;
    let contact = app
        .write(move |tx| {
            contacts::rename(tx, &id, &name)?;
            contact_json(tx, &contacts::get(tx, &id)?)
        })
        .await?;
    Ok(HttpResponse::Ok().json(contact))
}

async fn delete(app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    app.write(move |tx| contacts::delete(tx, &id)).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn add_channel(app: web::Data<App>, contact_id: web::Path<String>, body: JsonObject) -> Result<HttpResponse> {
    let mut fields = Fields::new(body.0);
    let kind = match fields.raw("Type") {
        Some(_) => fields.enumeration("Type", ChannelType::from_number),
        None => {
            fields.wrong("Type", "is required");
            None
        }
    };
    let submitted = channels::configuration(&mut fields);
    let checked = kind.and_then(|kind| {
        let stored = config::unmasked(&submitted, None, Channel::fields(kind));
        channels::check(&app, &mut fields, kind, stored)
    });
    fields.finish()?;
    let Some((kind, (configuration, target))) = kind.zip(checked) else {
        return Err(Error::invalid_field("Configuration", "is not valid"));
    };
    let channel = app
        .write(move |tx| {
            let id = contacts::insert_channel(tx, &contact_id, kind, &configuration, &target)?;
            Ok(channel_json(&contacts::get_channel(tx, &id)?))
        })
        .await?;
    Ok(HttpResponse::Created().json(channel))
}

async fn update_channel(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    body: JsonObject,
) -> Result<HttpResponse> {
    let channel_id = own_channel(&app, path.into_inner()).await?;
    channels::update(&app, channel_id, body).await
}

async fn delete_channel(app: web::Data<App>, path: web::Path<(String, String)>) -> Result<HttpResponse> {
    let channel_id = own_channel(&app, path.into_inner()).await?;
    app.write(move |tx| {
        if contacts::get_channel(tx, &channel_id)?.managed {
            return Err(Error::refused(Code::ChannelManaged, "the channel comes from the environment"));
        }
        contacts::delete_channel(tx, &channel_id)
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn test_channel(app: web::Data<App>, path: web::Path<(String, String)>) -> Result<HttpResponse> {
    let channel_id = own_channel(&app, path.into_inner()).await?;
    channels::test(&app, channel_id).await
}

async fn of_service(app: web::Data<App>, service_id: web::Path<String>) -> Result<HttpResponse> {
    let body = app
        .read(move |db| {
            services::get(db, &service_id)?;
            contacts_json(db, contacts::of_service(db, &service_id)?)
        })
        .await?;
    Ok(HttpResponse::Ok().json(body))
}

async fn assign(app: web::Data<App>, service_id: web::Path<String>, body: JsonObject) -> Result<HttpResponse> {
    let mut fields = Fields::new(body.0);
    let mut ids = fields.texts("ContactIds").unwrap_or_default();
    if fields.is_fine() && (ids.is_empty() || ids.len() > CONTACTS_MAX) {
        fields.wrong("ContactIds", format!("must name 1 to {CONTACTS_MAX} contacts"));
    }
    fields.finish()?;
    ids.iter_mut().for_each(|id| id.make_ascii_lowercase());
    ids.sort_unstable();
    ids.dedup();
    let assigned = ids.len();
    app.write(move |tx| {
        services::get(tx, &service_id)?;
        contacts::assign(tx, &service_id, &ids)
    })
    .await?;
    Ok(HttpResponse::Ok().json(json!({ "assigned": assigned })))
}

fn contact_name(body: Map<String, Value>) -> Result<String> {
    let mut fields = Fields::new(body);
    let name = fields.required_text("Name", NAME_MAX);
    fields.finish()?;
    Ok(name)
}

/// The channel's id, if the channel is one of the contact's.
async fn own_channel(app: &App, (contact_id, channel_id): (String, String)) -> Result<String> {
    app.read(move |db| {
        contacts::get(db, &contact_id)?;
        match contacts::find_channel(db, &channel_id)? {
            Some(channel) if channel.contact_id == contact_id => Ok(channel.id),
            _ => Err(Error::refused(Code::ChannelNotFound, "the contact has no such channel")),
        }
    })
    .await
}

fn contacts_json(db: &Connection, rows: Vec<ContactRow>) -> Result<Vec<Value>> {
    rows.iter().map(|row| contact_json(db, row)).collect()
}

fn contact_json(db: &Connection, row: &ContactRow) -> Result<Value> {
    let channels: Vec<Value> = contacts::channels_of(db, &row.id)?.iter().map(channel_json).collect();
    Ok(json!({
        "id": row.id,
        "name": row.name,
        "isDefault": row.is_default,
        "createdAt": row.created_at,
        "channels": channels,
        "serviceCount": row.service_count,
    }))
}
