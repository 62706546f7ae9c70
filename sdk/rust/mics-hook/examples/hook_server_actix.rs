//! A tenant's back end on actix-web. Run it, then a gateway with `TENANT_AUTH_MAP={"t1":"http://localhost:8081"}`,
//! `TENANT_HOOK_SECRETS={"t1":"dev-secret-t1"}` and `HOOK_SIGN_REQUIRED=true`. Settings: `sample/mod.rs`.

mod sample;

use actix_web::{App, HttpServer, web};
use mics_hook::{BoxError, HookService};
use sample::{SampleTenant, Settings};

#[actix_web::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let settings = Settings::from_env()?;
    let (port, options) = (settings.port, settings.options());
    // Once, outside of the factory: all workers share what was seen.
    let (tenant, reading) = SampleTenant::start(settings)?;
    let service = web::Data::new(HookService::new(tenant, options));
    let app = move || App::new().configure(mics_hook::actix::routes(service.clone()));
    let server = HttpServer::new(app).workers(2).bind(("0.0.0.0", port))?;
    println!("listening on {port}");
    server.run().await?;
    reading.await?;
    Ok(())
}
