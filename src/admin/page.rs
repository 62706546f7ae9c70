//! The operator's console: the built files of `console/`, embedded, served on ADMIN_PORT. The page holds no figures and
//! is open to whoever reaches the port; what it shows it asks of the API, with the token that the operator types.

use actix_web::HttpResponse;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::web::{ServiceConfig, get};
use actix_web::{HttpRequest, Responder};

/// Nothing inline, nothing from elsewhere, shown in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Path, content type, file.
const FILES: &[(&str, &str, &[u8])] = &[
    ("/", "text/html; charset=utf-8", include_bytes!("../../console/dist/index.html")),
    ("/assets/console.js", "text/javascript; charset=utf-8", include_bytes!("../../console/dist/assets/console.js")),
    ("/assets/console.css", "text/css; charset=utf-8", include_bytes!("../../console/dist/assets/console.css")),
    ("/assets/icon.svg", "image/svg+xml", include_bytes!("../../console/dist/assets/icon.svg")),
];

/// Adds the page's files.
pub fn routes(config: &mut ServiceConfig) {
    for &(path, content_type, body) in FILES {
        let tag = tag_of(body);
        config.route(path, get().to(move |request: HttpRequest| file(request, content_type, body, tag.clone())));
    }
}

/// Names the content, so that a browser asks again but is not sent the same again.
fn tag_of(body: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    let digest: String = Sha256::digest(body).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digest}\"")
}

async fn file(request: HttpRequest, content_type: &'static str, body: &'static [u8], tag: String) -> impl Responder {
    let known = request.headers().get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((ETAG, tag));
    if known { response.finish() } else { response.insert_header((CONTENT_TYPE, content_type)).body(body) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::StatusCode;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};

    #[actix_web::test]
    async fn every_file_that_the_page_names_is_served_under_the_policy() {
        let app = init_service(actix_web::App::new().configure(routes)).await;
        let get = |path: &str| TestRequest::get().uri(path).to_request();
        let html = read_body(call_service(&app, get("/")).await).await;
        let html = String::from_utf8(html.to_vec()).unwrap();
        let named: Vec<&str> = html.split('"').filter(|text| text.starts_with('/')).collect();
        assert!(named.len() >= 3, "{html}");
        for path in named.into_iter().chain(["/"]) {
            let response = call_service(&app, get(path)).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert_eq!(response.headers().get(CONTENT_SECURITY_POLICY).unwrap(), POLICY);
            assert!(!read_body(response).await.is_empty());
        }
        let inline = html.contains("<style") || html.contains("style=") || html.contains("<script>");
        assert!(!inline, "the policy would stop it: {html}");
    }

    #[actix_web::test]
    async fn a_file_that_the_browser_has_is_not_sent_again() {
        let app = init_service(actix_web::App::new().configure(routes)).await;
        let first = call_service(&app, TestRequest::get().uri("/assets/console.js").to_request()).await;
        let tag = first.headers().get(ETAG).unwrap().clone();
        let again = TestRequest::get().uri("/assets/console.js").insert_header((IF_NONE_MATCH, tag)).to_request();
        let again = call_service(&app, again).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert!(read_body(again).await.is_empty());
    }
}
