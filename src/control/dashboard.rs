//! The dashboard at the admin address: its page, the stream of snapshots behind it, and the drain
//! that it may ask for.

mod columns;
mod ends;
mod limits;
mod live;
mod sample;

use std::convert::Infallible;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, State as Has};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use futures_lite::stream::unfold;
use rust_embed::Embed;
use rustix::process::{Signal, getpid, kill_process};

pub(super) use self::limits::Limits;
use self::live::Viewer;
pub(super) use self::live::{Live, keep};
use super::api::answer::Fault;
use super::{State, pages};

/// The files of the page, part of the binary.
#[derive(Embed)]
#[folder = "src/dashboard/"]
struct Files;

/// The rights of a request's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    /// It may call every method.
    Act,
    /// It may read and nothing else.
    Read,
}

/// The page, which holds no secret: everything that it shows comes from the API.
pub(super) fn pages(router: Router<State>) -> Router<State> {
    router
        .route("/", get(|| async { Redirect::to("dashboard/") }))
        .route("/dashboard", get(|| async { Redirect::permanent("dashboard/") }))
        .route("/dashboard/", get(|headers: HeaderMap| async move { file("index.html", &headers) }))
        .route("/dashboard/{file}", get(named))
}

async fn named(Path(name): Path<String>, headers: HeaderMap) -> Response {
    file(&name, &headers)
}

fn file(name: &str, headers: &HeaderMap) -> Response {
    match Files::get(name) {
        Some(file) => pages::embedded(file, name, headers),
        None => (StatusCode::NOT_FOUND, "no such file of the dashboard\n").into_response(),
    }
}

/// `GET /api/live`: server-sent events, of which the first tells what the viewer may do and what
/// the last minutes were like. A snapshot follows each second; a slow viewer misses some.
pub(super) async fn live(Has(state): Has<State>, Extension(rights): Extension<Rights>) -> Response {
    let Some(viewer) = Viewer::new(&state, rights == Rights::Act) else {
        return Fault::Busy.into_response();
    };
    let events = unfold(viewer, |mut viewer| async {
        let event = viewer.next().await?;
        Some((Ok::<Bytes, Infallible>(event), viewer))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Body::from_stream(events)).into_response()
}

/// `POST /api/drain`: the server leaves as after SIGTERM. Only the admin address has it: a key for
/// publishing at the clients' address should end nothing.
pub(super) async fn drain() -> Response {
    tracing::info!("the API asks for a drain");
    match kill_process(getpid(), Signal::TERM) {
        Ok(()) => axum::Json(serde_json::json!({ "result": {} })).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_only_files_that_are_there() {
        let text = |name: &str| String::from_utf8(Files::get(name).unwrap().data.into()).unwrap();
        let page = text("index.html");
        let mut named = 0;
        for part in page.split("href=\"").chain(page.split("src=\"")).skip(1) {
            let name = part.split('"').next().unwrap();
            if name.contains('.') && !name.contains(['<', '/', ' ']) {
                assert!(Files::get(name).is_some(), "{name}");
                named += 1;
            }
        }
        assert!(named >= 3, "{named}");
        for name in Files::iter().filter(|name| name.ends_with(".js")) {
            for part in text(&name).split("from './").skip(1) {
                let other = part.split('\'').next().unwrap();
                assert!(Files::get(other).is_some(), "{name} imports {other}");
            }
        }
        for name in Files::iter() {
            assert!(text(&name).lines().count() <= 400, "{name} is longer than 400 lines");
        }
    }
}
