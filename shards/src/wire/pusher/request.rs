//! The request of a client: the key of its app stands in the path, the version of the protocol in
//! the query.

use crate::wire::entry::AskedApp;
use crate::wire::refusal::AppFault;

/// The part of a path in front of the key of an app.
const APP_MARK: &str = "/app";

/// Returns the key of the app that a path names: `/app/KEY`, under any prefix.
pub(in crate::wire) fn app_key(path: &str) -> Option<&str> {
    let (front, key) = path.rsplit_once('/')?;
    (front.ends_with(APP_MARK) && !key.is_empty()).then_some(key)
}

/// Returns the app that a request asks for.
pub(in crate::wire) fn asked(path: &str, query: &str) -> Option<Box<AskedApp>> {
    let key = app_key(path)?.into();
    Some(Box::new(AskedApp { key, fault: version_fault(query) }))
}

/// Returns the fault in the version that a query names, if there is one.
fn version_fault(query: &str) -> Option<AppFault> {
    let version = query.split('&').find_map(|pair| pair.strip_prefix("protocol="));
    match version.map(str::parse::<u32>) {
        None => Some(AppFault::NoProtocol),
        Some(Err(_)) => Some(AppFault::BadVersion),
        Some(Ok(5..=7)) => None,
        Some(Ok(_)) => Some(AppFault::Unsupported),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_an_app_may_have_anything_in_front() {
        for (path, key) in [
            ("/app/key", Some("key")),
            ("/a/b/app/k-e.y", Some("k-e.y")),
            ("/app/", None),
            ("/app", None),
            ("/app/key/more", None),
            ("/happ/key", None),
            ("/ws", None),
        ] {
            assert_eq!(app_key(path), key, "{path}");
        }
    }

    #[test]
    fn versions_5_to_7_are_spoken() {
        for (query, fault) in [
            ("protocol=7&client=js&version=8.6.0&flash=false", None),
            ("client=x&protocol=5", None),
            ("", Some(AppFault::NoProtocol)),
            ("xprotocol=7", Some(AppFault::NoProtocol)),
            ("protocol=", Some(AppFault::BadVersion)),
            ("protocol=seven", Some(AppFault::BadVersion)),
            ("protocol=4", Some(AppFault::Unsupported)),
            ("protocol=8", Some(AppFault::Unsupported)),
        ] {
            assert_eq!(version_fault(query), fault, "{query}");
        }
    }
}
