//! The description of the API in `OpenAPI` 3.1, as it is served. It holds no secret, so that tools
//! read it without the key.

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// The description, written by hand; `openapi_check.py` holds real answers against it.
const DESCRIPTION: &str = include_str!("openapi.json");

/// `GET /api/openapi.json`
pub(super) async fn description() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DESCRIPTION).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::DESCRIPTION;
    use crate::control::api::METHODS;

    /// The paths of the API that the router of the admin address knows by name.
    fn routes() -> BTreeSet<String> {
        let source = include_str!("admin.rs").split("#[cfg(test)]\nmod tests").next().unwrap();
        let named = source.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
        let of_api = named.filter(|path| {
            // Not the methods, which the next line of the test adds, and not what only tests have.
            *path != "/{method}" && *path != "/metrics" && !path.starts_with("/break")
        });
        let whole = |path: &str| match path.strip_prefix("/api") {
            Some(_) => path.to_owned(),
            None => format!("/api{path}").trim_end_matches('/').to_owned(),
        };
        of_api.map(whole).collect()
    }

    #[test]
    fn the_description_has_every_route_and_no_other() {
        let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
        let paths = description["paths"].as_object().unwrap();
        let described: BTreeSet<String> = paths.keys().cloned().collect();
        let mut there = routes();
        assert!(there.contains("/api") && there.contains("/api/openapi.json"), "{there:?}");
        there.extend(METHODS.iter().map(|method| format!("/api/{method}")));
        // Centrifugo has it, and its clients have a call for it.
        there.insert("/api/rpc".into());
        assert_eq!(described, there);
    }
}
