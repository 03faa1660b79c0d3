//! Paths of requests: doubled slashes, and the prefix under which a proxy shows this server.

use std::borrow::Cow;

/// The most of a path that an answer repeats.
const SHOWN_MAX: usize = 100;

/// Returns a path as the routes know it: without doubled slashes, without one at its end, and
/// without `prefix` (empty, or such as `/chat`) if it begins with that. Nothing at all is `/`.
///
/// A prefix may be there or not: some proxies take it off, and probes never have it.
pub fn local_path<'a>(path: &'a str, prefix: &str) -> Cow<'a, str> {
    if !path.starts_with('/') && !path.is_empty() {
        return Cow::Borrowed(path);
    }
    let mut path = Cow::Borrowed(path);
    if path.contains("//") {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        path = Cow::Owned(format!("/{}", parts.join("/")));
    }
    let begin = match path.strip_prefix(prefix) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => prefix.len(),
        _ => 0,
    };
    let end = path.len() - usize::from(path.len() > begin && path.ends_with('/'));
    match path {
        _ if begin == end => Cow::Borrowed("/"),
        Cow::Borrowed(path) => Cow::Borrowed(&path[begin..end]),
        Cow::Owned(path) => Cow::Owned(path[begin..end].to_owned()),
    }
}

/// Checks a prefix: empty, or segments of plain characters with a slash before each.
///
/// # Errors
/// The text is no valid prefix; the error says why.
pub fn check_path_prefix(prefix: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    let is_end = |rest: &str| rest.is_empty() || rest.starts_with('/');
    let part = |part: &str| !part.is_empty() && part.chars().all(plain);
    let good = match prefix.strip_prefix('/') {
        Some(parts) => parts.split('/').all(part),
        None => prefix.is_empty(),
    };
    // The API of apps begins so, with a prefix and without.
    if ["/apps", "/users"].iter().any(|own| prefix.strip_prefix(own).is_some_and(is_end)) {
        return Err(format!("{prefix:?} is the path of the API of apps: take another one"));
    }
    // Clients resolve such parts away before they send them.
    let dots = prefix.split('/').any(|part| part == "." || part == "..");
    if good && !dots {
        Ok(())
    } else {
        Err(format!("{prefix:?} is not a path such as /chat, without a slash at its end"))
    }
}

/// A path as a text that repeats nothing but visible ASCII, and not too much of it.
pub fn shown_path(path: &str) -> String {
    let mut shown: String = path
        .chars()
        .take(SHOWN_MAX)
        .map(|c| if c.is_ascii_graphic() && !"<>\"'".contains(c) { c } else { '?' })
        .collect();
    if path.chars().nth(SHOWN_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_found_with_doubled_slashes_and_under_a_prefix() {
        for (path, prefix, expected) in [
            ("/ws", "", "/ws"),
            ("/ws/", "", "/ws"),
            ("//ws", "", "/ws"),
            ("///ws///", "", "/ws"),
            ("", "", "/"),
            ("/", "", "/"),
            ("//", "", "/"),
            ("/ws/more", "", "/ws/more"),
            ("/chat/ws", "/chat", "/ws"),
            ("//chat//ws/", "/chat", "/ws"),
            ("/chat", "/chat", "/"),
            ("/chat/", "/chat", "/"),
            ("/ws", "/chat", "/ws"),
            ("/chatter/ws", "/chat", "/chatter/ws"),
            ("/a/b/ws", "/a/b", "/ws"),
            ("/chat/chat/ws", "/chat", "/chat/ws"),
            ("ws//", "", "ws//"),
            ("*", "", "*"),
        ] {
            assert_eq!(local_path(path, prefix), expected, "{path} under {prefix:?}");
        }
    }

    #[test]
    fn prefixes_are_checked() {
        for good in ["", "/chat", "/a/b-c/d.e_f~g"] {
            assert_eq!(check_path_prefix(good), Ok(()), "{good}");
        }
        for bad in [
            "chat", "/", "/chat/", "//chat", "/apps", "/users/x", "/a b", "/a?b", "/%41",
            "/a/../b", "/.",
        ] {
            assert!(check_path_prefix(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_answer_repeats_no_markup_and_not_much() {
        assert_eq!(shown_path("/a<b>\u{1b}[31m\u{e4}"), "/a?b??[31m?");
        assert_eq!(shown_path(&"x".repeat(500)).len(), SHOWN_MAX + 3);
    }

    proptest! {
        /// A path is the list of its parts.
        #[test]
        fn slashes_make_no_difference(path in "/[a-c/]{0,12}", prefix in "(/[a-c]{1,2}){0,2}") {
            let parts = |text: &str| -> Vec<String> {
                text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
            };
            let (all, before) = (parts(&path), parts(&prefix));
            let expected = all.strip_prefix(&before[..]).unwrap_or(&all);
            let local = local_path(&path, &prefix).into_owned();
            prop_assert_eq!(parts(&local), expected);
            prop_assert!(local == "/" || !local.ends_with('/') && local.starts_with('/'));
        }
    }
}
