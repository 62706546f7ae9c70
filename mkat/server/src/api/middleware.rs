//! Around every request: base path, security headers, one log line without secrets.

use super::origin::PathBase;
use crate::app::App;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Uri;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};

const CSP: &str = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                   connect-src 'self'; font-src 'self'; object-src 'none'; frame-ancestors 'none'; \
                   base-uri 'none'; form-action 'self'";

/// `/mkat/x` is `/x`, with the prefix in any case. What was stripped is echoed in generated URLs.
pub async fn strip_base_path<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let base = request.app_data::<web::Data<App>>().map(|app| app.config.base_path.clone()).unwrap_or_default();
    if let Some(uri) = without_base(request.uri(), &base) {
        let spelled = request.path()[..base.len()].to_owned();
        request.extensions_mut().insert(PathBase(spelled));
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
    next.call(request).await
}

fn without_base(uri: &Uri, base: &str) -> Option<Uri> {
    let path = uri.path();
    let prefix = path.get(..base.len()).filter(|prefix| !prefix.is_empty() && prefix.eq_ignore_ascii_case(base))?;
    let rest = &path[prefix.len()..];
    let rest = match rest {
        "" => "/",
        rest if rest.starts_with('/') => rest,
        _ => return None,
    };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{rest}{query}").parse().ok()
}

/// Headers and the log line.
pub async fn finish<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let began = tokio::time::Instant::now();
    let https = request
        .app_data::<web::Data<App>>()
        .is_some_and(|app| app.config.public_url.as_deref().is_some_and(|url| url.starts_with("https:")));
    let mut response = match next.call(request).await {
        Ok(response) => response.map_into_boxed_body(),
        Err(error) => return Err(error),
    };
    let api = response.request().path().starts_with("/api/");
    secure(response.headers_mut(), api, https);
    name_charset(response.headers_mut());
    log(&response, began.elapsed());
    Ok(response)
}

fn secure(headers: &mut HeaderMap, api: bool, https: bool) {
    let mut put = |name: &'static str, value: &'static str| {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    };
    put("x-content-type-options", "nosniff");
    put("x-frame-options", "DENY");
    put("referrer-policy", "strict-origin-when-cross-origin");
    put("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()");
    put("content-security-policy", if api { "default-src 'none'; frame-ancestors 'none'" } else { CSP });
    if https {
        put("strict-transport-security", "max-age=31536000");
    }
    if api {
        put("cache-control", "no-store");
    }
}

/// Clients that know nothing of JSON's own rule are told its encoding.
fn name_charset(headers: &mut HeaderMap) {
    if headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json") {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    }
}

/// The path of a token endpoint is logged as its pattern, so that no token gets into the log.
fn log(response: &ServiceResponse<BoxBody>, took: std::time::Duration) {
    let request = response.request();
    let path = request.match_pattern().unwrap_or_else(|| redacted(request.path()));
    let (method, status) = (request.method().as_str(), response.status().as_u16());
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    // What the operator changes is worth a line; the rest would drown it.
    if path.starts_with("/api/") && !request.method().is_safe() {
        tracing::info!(method, path, status, micros, "request");
    } else {
        tracing::debug!(method, path, status, micros, "request");
    }
}

fn redacted(path: &str) -> String {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default().to_ascii_lowercase();
    if super::ui::MACHINE_PATHS.contains(&first.as_str()) { format!("/{first}/...") } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_path_is_stripped_in_any_case_but_only_as_a_whole() {
        let strip = |path: &str| without_base(&path.parse().unwrap(), "/mkat").map(|uri| uri.to_string());
        assert_eq!(strip("/mkat").as_deref(), Some("/"));
        assert_eq!(strip("/MKAT/api/v1?x=%2F").as_deref(), Some("/api/v1?x=%2F"));
        assert_eq!(strip("/mkat//api").as_deref(), Some("//api"));
        for path in ["/", "/mkatx", "/mkat%2fapi", "/x/mkat", "/mka"] {
            assert_eq!(strip(path), None, "{path}");
        }
        assert_eq!(without_base(&"/x".parse().unwrap(), ""), None);
    }
}
