//! HTTP: the route table and what surrounds every request. Handlers translate; they decide nothing.

pub mod alertmanager;
pub mod alerts;
pub mod auth;
pub mod channels;
pub mod contacts;
pub mod endpoint;
mod error_form;
pub mod events;
pub mod health;
pub mod importers;
pub mod input;
mod middleware;
pub mod monitors;
mod openapi;
pub mod origin;
mod own_metrics;
pub mod page;
pub mod peers;
pub mod receive;
pub mod services;
pub mod session;
mod stream;
mod throttle;
mod ui;
pub mod view;

pub use endpoint::{Access, Endpoint};

use crate::app::App;
use crate::error::{Code, Error};
use actix_web::{middleware::from_fn, web};

/// Every route of the program, once. A path that is not here does not exist; who may call it stands beside it.
pub fn endpoints() -> Vec<Endpoint> {
    [
        health::endpoints(),
        receive::endpoints(),
        importers::endpoints(),
        session::endpoints(),
        services::endpoints(),
        monitors::endpoints(),
        alerts::endpoints(),
        contacts::endpoints(),
        channels::endpoints(),
        peers::endpoints(),
        alertmanager::endpoints(),
        events::endpoints(),
        stream::endpoints(),
        own_metrics::endpoints(),
        openapi::endpoints(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Shared state of the HTTP side.
#[derive(Clone)]
pub struct Shared {
    pub app: App,
    pub guard: std::sync::Arc<auth::Guard>,
}

/// Mounts the route table. Unknown paths get the page (GET outside of the machine paths) or a coded 404.
pub fn configure(shared: &Shared) -> impl FnOnce(&mut web::ServiceConfig) + Clone + use<> {
    let shared = shared.clone();
    move |config| {
        config.app_data(web::Data::new(shared.app)).app_data(web::Data::from(shared.guard));
        config.app_data(
            web::PathConfig::default()
                .error_handler(|_, _| Error::refused(Code::NotFound, "there is nothing here").into()),
        );
        endpoint::mount(endpoints(), config);
        config.default_service(web::to(ui::fallback));
    }
}

/// The whole application around [`configure`], for the server and for tests of single handlers.
pub fn application(
    shared: &Shared,
) -> actix_web::App<
    impl actix_web::dev::ServiceFactory<
        actix_web::dev::ServiceRequest,
        Config = (),
        Response = actix_web::dev::ServiceResponse<impl actix_web::body::MessageBody + use<>>,
        Error = actix_web::Error,
        InitError = (),
    > + use<>,
> {
    actix_web::App::new()
        .configure(configure(shared))
        .wrap(from_fn(middleware::strip_base_path))
        .wrap(from_fn(middleware::finish))
}
