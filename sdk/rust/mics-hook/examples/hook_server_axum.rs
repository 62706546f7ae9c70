//! A tenant's back end on axum. Run it, then a gateway with `TENANT_AUTH_MAP={"t1":"http://localhost:8081"}`,
//! `TENANT_HOOK_SECRETS={"t1":"dev-secret-t1"}` and `HOOK_SIGN_REQUIRED=true`. Settings: `sample/mod.rs`.

mod sample;

use std::sync::Arc;

use mics_hook::{BoxError, HookService};
use sample::{SampleTenant, Settings, told_to_stop};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let settings = Settings::from_env()?;
    let (port, options) = (settings.port, settings.options());
    let (tenant, reading) = SampleTenant::start(settings)?;
    let service = Arc::new(HookService::new(tenant, options));
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    println!("listening on {}", listener.local_addr()?.port());
    axum::serve(listener, mics_hook::axum::router(service)).with_graceful_shutdown(told_to_stop()).await?;
    reading.await?;
    Ok(())
}
