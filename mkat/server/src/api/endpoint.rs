//! One line of the route table: method, path, who may call it, what it takes and gives, and its handler.
//!
//! Access belongs to the line, so there is no second list of paths that could disagree with the routing.

use super::auth;
use crate::error::{Code, Error};
use actix_web::{HttpRequest, HttpResponse, Route, guard, http::Method, middleware::from_fn, web};
use std::collections::BTreeMap;

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// Anybody who knows the token in the path; the handler checks it.
    Token,
    /// The signed-in operator: Basic or session cookie.
    User,
}

/// Description for the OpenAPI document. Schema names refer to `openapi/*.json`.
#[derive(Debug, Clone, Default)]
pub struct Doc {
    pub summary: &'static str,
    /// Names of query parameters.
    pub query: &'static [&'static str],
    pub body: Option<&'static str>,
    pub status: u16,
    pub response: Option<&'static str>,
}

#[derive(Clone)]
pub struct Endpoint {
    pub method: Method,
    /// With `{parameters}`; relative to the root and to the base path.
    pub path: &'static str,
    pub access: Access,
    pub doc: Doc,
    handler: fn(Route) -> Route,
}

impl Endpoint {
    /// `handler` is `|route| route.to(function)`.
    pub fn new(
        method: Method,
        path: &'static str,
        access: Access,
        summary: &'static str,
        handler: fn(Route) -> Route,
    ) -> Self {
        Self { method, path, access, doc: Doc { summary, status: 200, ..Doc::default() }, handler }
    }

    /// GET, and HEAD with it.
    pub fn get(path: &'static str, access: Access, summary: &'static str, handler: fn(Route) -> Route) -> Self {
        Self::new(Method::GET, path, access, summary, handler)
    }

    pub fn post(path: &'static str, access: Access, summary: &'static str, handler: fn(Route) -> Route) -> Self {
        Self::new(Method::POST, path, access, summary, handler)
    }

    pub fn put(path: &'static str, access: Access, summary: &'static str, handler: fn(Route) -> Route) -> Self {
        Self::new(Method::PUT, path, access, summary, handler)
    }

    /// Answers 204.
    pub fn delete(path: &'static str, access: Access, summary: &'static str, handler: fn(Route) -> Route) -> Self {
        Self::new(Method::DELETE, path, access, summary, handler).status(204)
    }

    pub fn query(mut self, names: &'static [&'static str]) -> Self {
        self.doc.query = names;
        self
    }

    pub fn body(mut self, schema: &'static str) -> Self {
        self.doc.body = Some(schema);
        self
    }

    pub fn returns(mut self, schema: &'static str) -> Self {
        self.doc.response = Some(schema);
        self
    }

    pub fn status(mut self, status: u16) -> Self {
        self.doc.status = status;
        self
    }

    fn route(&self) -> Route {
        let route = if self.method == Method::GET {
            web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
        } else {
            web::method(self.method.clone())
        };
        let route = (self.handler)(route);
        match self.access {
            Access::Public | Access::Token => route,
            Access::User => route.wrap(from_fn(auth::require_user)),
        }
    }
}

/// Registers the table: one resource per path, literal paths before those with parameters.
pub fn mount(endpoints: Vec<Endpoint>, config: &mut web::ServiceConfig) {
    let mut by_path: BTreeMap<(usize, &'static str), Vec<Endpoint>> = BTreeMap::new();
    for endpoint in endpoints {
        by_path.entry((endpoint.path.matches('{').count(), endpoint.path)).or_default().push(endpoint);
    }
    for ((_, path), endpoints) in by_path {
        let mut resource = web::resource(path);
        for endpoint in &endpoints {
            resource = resource.route(endpoint.route());
        }
        let refuse = Route::new().to({
            let allow = allowed(&endpoints);
            move |_: HttpRequest| std::future::ready(wrong_method(&allow))
        });
        let open = endpoints.iter().any(|endpoint| endpoint.access != Access::User);
        let refuse = if open { refuse } else { refuse.wrap(from_fn(auth::require_user)) };
        config.service(resource.default_service(refuse));
    }
}

fn allowed(endpoints: &[Endpoint]) -> String {
    let mut methods: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.method.as_str()).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.join(", ")
}

fn wrong_method(allow: &str) -> HttpResponse {
    let error = Error::refused(Code::MethodNotAllowed, format!("this path takes {allow}"));
    let mut response = actix_web::ResponseError::error_response(&error);
    if let Ok(value) = allow.parse() {
        response.headers_mut().insert(actix_web::http::header::ALLOW, value);
    }
    response
}
