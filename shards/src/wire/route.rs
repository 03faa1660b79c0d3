//! The routes: a client's dialect follows from the path of its request, the subprotocols that it
//! offers, and for some dialects from a parameter.

use super::dialect::Dialect;
use super::pusher::request::app_key;

/// A path with one of its subprotocols.
#[derive(Debug)]
pub(crate) struct Route {
    paths: &'static [&'static str],
    /// The subprotocol that must be offered, and is named in the answer.
    pub(crate) subprotocol: Option<&'static str>,
    /// Parameters of which the URL must have one.
    parameters: Option<&'static [&'static str]>,
    pub(crate) dialect: Dialect,
}

/// The native endpoint. A URL that names only a host has an empty path.
const NATIVE: &[&str] = &["/ws", "/", ""];

/// The endpoint of Centrifugo's clients.
const CENTRIFUGO: &[&str] = &["/connection/websocket"];

/// The endpoint of clients that only listen.
const UNI: &[&str] = &["/connection/uni_websocket"];

/// The parameters by which clients that cannot offer a subprotocol ask for Protobuf.
const PROTOBUF: Option<&[&str]> = Some(&["format=protobuf", "cf_protocol=protobuf"]);

/// All routes; of those that fit a request the first one is taken.
const ROUTES: &[Route] = &[
    #[cfg(any(test, fuzzing))]
    Route::new(NATIVE, Some("lines"), Dialect::Lines),
    Route::new(NATIVE, Some("stentor.v1"), Dialect::Stentor),
    Route::new(NATIVE, None, Dialect::Plain),
    Route::new(CENTRIFUGO, Some("centrifuge-protobuf"), Dialect::Protobuf),
    // The parameter counts for more than the other subprotocol, as it does for Centrifugo.
    Route::new(CENTRIFUGO, Some("centrifuge-json"), Dialect::Protobuf).with(PROTOBUF),
    Route::new(CENTRIFUGO, None, Dialect::Protobuf).with(PROTOBUF),
    Route::new(CENTRIFUGO, Some("centrifuge-json"), Dialect::Centrifugo),
    Route::new(CENTRIFUGO, None, Dialect::Centrifugo),
    Route::new(UNI, None, Dialect::Uni),
];

/// The route of clients of apps, whose path names the app by its key.
const APP: Route = Route::new(&[], None, Dialect::Pusher);

impl Route {
    const fn new(
        paths: &'static [&'static str],
        subprotocol: Option<&'static str>,
        dialect: Dialect,
    ) -> Self {
        Self { paths, subprotocol, parameters: None, dialect }
    }

    const fn with(self, parameters: Option<&'static [&'static str]>) -> Self {
        Self { parameters, ..self }
    }

    /// Returns `true` if the path names the app of the client.
    pub(super) fn is_of_app(&self) -> bool {
        self.dialect == Dialect::Pusher
    }

    fn is_asked_for(&self, query: &str) -> bool {
        let has = |wanted: &[&str]| query.split('&').any(|pair| wanted.contains(&pair));
        self.parameters.is_none_or(has)
    }
}

/// Returns the route of a request for `path` with `query`; `offers` returns `true` if the client
/// offers a subprotocol.
pub(crate) fn find(
    path: &str,
    query: &str,
    offers: impl Fn(&str) -> bool,
) -> Option<&'static Route> {
    ROUTES
        .iter()
        .filter(|route| route.paths.contains(&path) && route.is_asked_for(query))
        .find(|route| route.subprotocol.is_none_or(&offers))
        .or_else(|| app_key(path).map(|_| &APP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offer_decides_on_the_native_path() {
        let stentor = find("/ws", "", |name| name == "stentor.v1").map(|route| route.dialect);
        assert_eq!(stentor, Some(Dialect::Stentor));
        assert_eq!(find("/ws", "", |_| false).map(|route| route.dialect), Some(Dialect::Plain));
        assert!(find("/elsewhere", "", |_| true).is_none());
    }

    #[test]
    fn the_path_of_an_app_may_have_anything_in_front() {
        for (path, of_app) in
            [("/app/key", true), ("/a/b/app/key", true), ("/app/key/more", false), ("/ws", false)]
        {
            let route = find(path, "", |_| false);
            let is_app = route.is_some_and(|route| route.dialect == Dialect::Pusher);
            assert_eq!(is_app, of_app, "{path}");
        }
    }

    #[test]
    fn protobuf_is_asked_for_by_subprotocol_or_parameter() {
        let cases = [
            ("", Some("centrifuge-protobuf"), Dialect::Protobuf, Some("centrifuge-protobuf")),
            ("a=b&format=protobuf", None, Dialect::Protobuf, None),
            ("cf_protocol=protobuf&a", None, Dialect::Protobuf, None),
            (
                "format=protobuf",
                Some("centrifuge-json"),
                Dialect::Protobuf,
                Some("centrifuge-json"),
            ),
            ("format=json", Some("centrifuge-json"), Dialect::Centrifugo, Some("centrifuge-json")),
            ("xformat=protobuf", None, Dialect::Centrifugo, None),
        ];
        for (query, offer, dialect, answer) in cases {
            let route = find("/connection/websocket", query, |name| Some(name) == offer).unwrap();
            assert_eq!((route.dialect, route.subprotocol), (dialect, answer), "{query}");
        }
    }
}
