//! Proxies to the application's backend become hooks.

use std::collections::BTreeMap;

use super::Sheet;
use super::found::Found;

/// The paths of the usual proxies, and the keys of the hooks that they become.
const USUAL: [(&str, &str); 6] = [
    ("client.proxy.connect", "hook-connect"),
    ("client.proxy.refresh", "hook-refresh"),
    ("channel.proxy.subscribe", "hook-subscribe"),
    ("channel.proxy.sub_refresh", "hook-sub-refresh"),
    ("channel.proxy.publish", "hook-publish"),
    ("rpc.proxy", "hook-rpc"),
];

/// The settings that all hooks share here.
#[derive(Default)]
struct Shared {
    timeouts: Vec<(String, String)>,
    headers: Vec<toml::Value>,
    fixed: Vec<(String, String)>,
    has_meta: bool,
}

pub(super) fn translate(found: &mut Found, sheet: &mut Sheet) {
    let mut shared = Shared::default();
    for (path, name) in USUAL {
        let is_on = found.maybe_switch(&format!("{path}.enabled"));
        let Some(endpoint) = take(found, sheet, path, &mut shared) else { continue };
        let has_switch = matches!(name, "hook-connect" | "hook-refresh");
        if name == "hook-rpc" {
            calls(found, sheet, &endpoint);
        } else if !has_switch || is_on == Some(true) {
            sheet.set(name, endpoint, path);
        }
    }
    let mut named = BTreeMap::new();
    for index in 0.. {
        let path = format!("proxies[{index}]");
        if !found.has_below(&path) {
            break;
        }
        let name = found.text(&format!("{path}.name")).unwrap_or_default();
        if let Some(endpoint) = take(found, sheet, &path, &mut shared) {
            named.insert(name, endpoint);
        }
    }
    sheet.proxies = named;
    let Shared { timeouts, headers, fixed, has_meta } = shared;
    let longest = timeouts.iter().max_by_key(|(_, time)| stentor_units::time(time).ok()).cloned();
    if let Some((of, time)) = longest {
        if timeouts.iter().any(|(_, other)| *other != time) {
            sheet.note(&of, "all hooks have one timeout here: the longest is set");
        }
        sheet.set("hook-timeout", time, &of);
    }
    if !headers.is_empty() {
        sheet.set("hook-headers", headers, "http_headers");
    }
    if !fixed.is_empty() {
        let one = |(name, value): &(String, String)| format!("{name}: {value}");
        let text = fixed.iter().map(one).collect::<Vec<_>>().join(", ");
        sheet.set("hook-static-headers", text, "http.static_headers");
    }
    if has_meta {
        sheet.set("hook-meta", true, "include_connection_meta");
    }
}

/// Takes one proxy. Returns its endpoint, if a hook can have it.
fn take(found: &mut Found, sheet: &mut Sheet, path: &str, shared: &mut Shared) -> Option<String> {
    let endpoint = found.text(&format!("{path}.endpoint"));
    let is_http = endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http"));
    if let Some(endpoint) = endpoint.as_ref().filter(|_| !is_http) {
        let of = format!("{path}.endpoint");
        sheet.note(
            &of,
            &format!("no counterpart: hooks speak HTTP, and {endpoint:?} is no such URL"),
        );
    }
    if let Some(timeout) = found.text(&format!("{path}.timeout")) {
        shared.timeouts.push((format!("{path}.timeout"), timeout));
    }
    for header in found.texts(&format!("{path}.http_headers")) {
        let header = toml::Value::from(header);
        if !shared.headers.contains(&header) {
            shared.headers.push(header);
        }
    }
    for (name, value) in found.texts_below(&format!("{path}.http.static_headers")) {
        let same = shared.fixed.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name));
        match same {
            Some((_, known)) if *known != value => {
                let of = format!("{path}.http.static_headers.{name}");
                sheet.note(&of, "all hooks have the same headers here: another value is set");
            }
            Some(_) => {}
            None => shared.fixed.push((name, value)),
        }
    }
    shared.has_meta |= found.switch(&format!("{path}.include_connection_meta"));
    if found.maybe_switch(&format!("{path}.binary_encoding")) == Some(true) {
        let text = "no counterpart: binary messages are in base64, and JSON is JSON";
        sheet.note(&format!("{path}.binary_encoding"), text);
    }
    endpoint.filter(|_| is_http)
}

/// Remote procedure calls: one endpoint answers all of them.
fn calls(found: &mut Found, sheet: &mut Sheet, endpoint: &str) {
    let mut is_on = found.switch("rpc.without_namespace.proxy_enabled");
    for index in 0.. {
        let path = format!("rpc.namespaces[{index}]");
        if !found.has_below(&path) {
            break;
        }
        let name = found.text(&format!("{path}.name")).unwrap_or_default();
        let (of, enabled) = (format!("{path}.proxy_name"), format!("{path}.proxy_enabled"));
        is_on |= found.switch(&enabled);
        if found.text(&of).is_some_and(|proxy| proxy != "default") {
            sheet.note(&of, &format!("one endpoint answers all calls here, those of {name:?} too"));
        }
    }
    if is_on {
        sheet.set("hook-rpc", endpoint, "rpc.proxy");
    }
}
