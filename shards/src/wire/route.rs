//! The routes: a client's dialect follows from the path of its request and the subprotocols that it
//! offers.

use super::dialect::Dialect;

/// A path with one of its subprotocols.
#[derive(Debug)]
pub(crate) struct Route {
    paths: &'static [&'static str],
    /// The subprotocol that must be offered, and is named in the answer.
    pub(crate) subprotocol: Option<&'static str>,
    pub(crate) dialect: Dialect,
}

/// The native endpoint. A URL that names only a host has an empty path.
const NATIVE: &[&str] = &["/ws", "/", ""];

/// The endpoint of Centrifugo's clients.
const CENTRIFUGO: &[&str] = &["/connection/websocket"];

/// The endpoint of clients that only listen.
const UNI: &[&str] = &["/connection/uni_websocket"];

/// All routes; of those that fit a request the first one is taken.
const ROUTES: &[Route] = &[
    #[cfg(any(test, fuzzing))]
    Route { paths: NATIVE, subprotocol: Some("lines"), dialect: Dialect::Lines },
    Route { paths: NATIVE, subprotocol: Some("stentor.v1"), dialect: Dialect::Stentor },
    Route { paths: NATIVE, subprotocol: None, dialect: Dialect::Plain },
    Route { paths: CENTRIFUGO, subprotocol: Some("centrifuge-json"), dialect: Dialect::Centrifugo },
    Route { paths: CENTRIFUGO, subprotocol: None, dialect: Dialect::Centrifugo },
    Route { paths: UNI, subprotocol: None, dialect: Dialect::Uni },
];

/// Returns the route of a request for `path`; `offers` returns `true` if the client offers a
/// subprotocol.
pub(crate) fn find(path: &str, offers: impl Fn(&str) -> bool) -> Option<&'static Route> {
    ROUTES
        .iter()
        .filter(|route| route.paths.contains(&path))
        .find(|route| route.subprotocol.is_none_or(&offers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offer_decides_on_the_native_path() {
        let stentor = find("/ws", |name| name == "stentor.v1").map(|route| route.dialect);
        assert_eq!(stentor, Some(Dialect::Stentor));
        assert_eq!(find("/ws", |_| false).map(|route| route.dialect), Some(Dialect::Plain));
        assert!(find("/elsewhere", |_| true).is_none());
    }
}
