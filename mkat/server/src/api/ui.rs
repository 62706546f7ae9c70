//! The page: files of `mkat/ui/dist`, compiled in, at the root and under the base path. Unknown paths of the page get
//! `index.html` (deep links); paths meant for machines never do.

use super::{auth, origin};
use crate::error::{Code, Error};
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use actix_web::http::{Method, header::HeaderValue};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use rust_embed::{EmbeddedFile, RustEmbed};

#[derive(RustEmbed)]
#[folder = "../ui/dist"]
struct Files;

/// First segments that belong to machines: no page there, whatever the spelling.
pub const MACHINE_PATHS: &[&str] =
    &["api", "webhook", "heartbeat", "metric", "ping", "alertmanager", "health", "metrics"];

const NO_PAGE: &str = "<!doctype html><title>mkat</title><p>mkat runs; this build has no page. The API is at api/v1.";

/// Everything that no endpoint took. Below `/api`, in any spelling, only the operator learns that there is nothing.
pub async fn fallback(request: HttpRequest) -> HttpResponse {
    let path = normalized(request.path());
    let first = path.split('/').next().unwrap_or_default().to_lowercase();
    if first == "api"
        && let Err(refusal) = auth::identify(&request).await
    {
        return refusal.into_response();
    }
    let readable = matches!(*request.method(), Method::GET | Method::HEAD);
    if MACHINE_PATHS.contains(&first.as_str()) || !readable {
        return Error::refused(Code::NotFound, "there is nothing here").error_response();
    }
    if let Some(file) = Files::get(&path).filter(|_| path != "index.html") {
        return asset(&request, &path, &file);
    }
    let last = path.rsplit('/').next().unwrap_or_default();
    if last.contains('.') && path != "index.html" {
        return Error::refused(Code::NotFound, "there is no such file").error_response();
    }
    index(&request)
}

/// Decoded, without empty and dot segments, without leading slash.
fn normalized(path: &str) -> String {
    let mut decoded = path.to_owned();
    // Twice, so that a doubly encoded slash or dot is seen for what it is.
    for _ in 0..2 {
        let bytes = url::form_urlencoded::parse(format!("p={}", decoded.replace(['+', '&'], "_")).as_bytes())
            .next()
            .map(|(_, value)| value.into_owned());
        decoded = bytes.unwrap_or_default();
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split(['/', '\\']) {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    segments.join("/")
}

fn asset(request: &HttpRequest, path: &str, file: &EmbeddedFile) -> HttpResponse {
    let tag = format!("\"{}\"", &crate::domain::token::hex(&file.metadata.sha256_hash())[..32]);
    if request.headers().get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return HttpResponse::NotModified().finish();
    }
    // Names under assets/ carry a hash of their content.
    let cache = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, file.metadata.mimetype()))
        .insert_header((CACHE_CONTROL, cache))
        .insert_header((ETAG, tag))
        .body(file.data.clone().into_owned())
}

/// The page's HTML with the base path of this request: relative references are made absolute, and
/// `__MKAT_BASE__` (in a meta element) tells the page's router.
fn index(request: &HttpRequest) -> HttpResponse {
    let base = origin::path_base(request);
    let html = match Files::get("index.html") {
        Some(file) => String::from_utf8_lossy(&file.data).into_owned(),
        None => NO_PAGE.to_owned(),
    };
    let html = html.replace("=\"./", &format!("=\"{base}/")).replace("__MKAT_BASE__", &base);
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(html)
}

#[cfg(test)]
mod tests {
    use super::normalized;

    #[test]
    fn a_path_is_seen_for_what_it_is() {
        for (path, expected) in [
            ("/", ""),
            ("/services/1", "services/1"),
            ("//api//v1", "api/v1"),
            ("/x/../api/./v1", "api/v1"),
            ("/%61pi", "api"),
            ("/%2561pi", "api"),
            ("/%2e%2e/%2fapi", "api"),
            ("/..%5capi", "api"),
            ("/a+b&c", "a_b_c"),
        ] {
            assert_eq!(normalized(path), expected, "{path}");
        }
    }
}
