//! `/api/v1/openapi.json`: paths from the route table, schemas from `openapi/*.json`.

use super::{Access, Endpoint};
use crate::app::App;
use crate::error::{Error, Result};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};

/// Schemas by area, so that each part of the API keeps its own file.
const SCHEMAS: &[&str] = &[
    include_str!("openapi/core.json"),
    include_str!("openapi/notify.json"),
    include_str!("openapi/importers.json"),
    include_str!("openapi/more.json"),
];

pub fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::get("/api/v1/openapi.json", Access::User, "This document", |route| route.to(document))]
}

async fn document(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse> {
    let server = super::origin::base_url(&request, &app.config);
    Ok(HttpResponse::Ok().json(build(&super::endpoints(), &server)?))
}

/// The whole document.
pub fn build(endpoints: &[Endpoint], server: &str) -> Result<Value> {
    let mut schemas = Map::new();
    for text in SCHEMAS {
        schemas.extend(serde_json::from_str::<Map<String, Value>>(text).map_err(Error::internal)?);
    }
    let mut paths = Map::new();
    for endpoint in endpoints {
        let item = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        item[endpoint.method.as_str().to_lowercase()] = operation(endpoint);
    }
    Ok(json!({
        "openapi": "3.1.0",
        "info": {"title": "mkat", "version": env!("CARGO_PKG_VERSION")},
        "servers": [{"url": server}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "session": {"type": "apiKey", "in": "cookie", "name": super::auth::COOKIE},
            },
        },
    }))
}

fn operation(endpoint: &Endpoint) -> Value {
    let doc = &endpoint.doc;
    let reference =
        |name: &str| json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{name}")}}});
    let in_path = endpoint.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameters: Vec<Value> = in_path
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .chain(doc.query.iter().map(|name| json!({"name": name, "in": "query", "schema": {"type": "string"}})))
        .collect();
    let mut success = json!({"description": "done"});
    if let Some(name) = doc.response {
        success["content"] = reference(name);
    }
    let mut operation = json!({
        "summary": doc.summary,
        "tags": [tag(endpoint.path)],
        "parameters": parameters,
        "responses": {
            doc.status.to_string(): success,
            "default": {"description": "refused", "content": reference("Error")},
        },
        "security": match endpoint.access {
            Access::User => json!([{"basic": []}, {"session": []}]),
            Access::Public | Access::Token => json!([]),
        },
    });
    if let Some(name) = doc.body {
        operation["requestBody"] = json!({"content": reference(name)});
    }
    operation
}

/// The first segment that says something.
fn tag(path: &str) -> &str {
    path.trim_start_matches("/api/v1").trim_start_matches('/').split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_that_is_named_exists() {
        let document = build(&crate::api::endpoints(), "http://x").unwrap();
        let text = document.to_string();
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "schema {name} is missing");
        }
    }

    #[test]
    fn a_path_and_method_stands_in_the_table_once() {
        let endpoints = crate::api::endpoints();
        let mut keys: Vec<_> = endpoints.iter().map(|endpoint| (endpoint.path, endpoint.method.to_string())).collect();
        keys.sort();
        let all = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }
}
