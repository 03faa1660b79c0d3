//! The keys of the server and its clients.

use super::Sheet;
use super::found::Found;

/// Where Centrifugo listens if nothing is said.
const PORT: i64 = 8000;

/// The most bytes in the body of a request for a stream, here as there.
const BODY_BYTES: i64 = 65_536;

pub(super) fn translate(found: &mut Found, sheet: &mut Sheet) {
    let is_apart = listening(found, sheet);
    certificates(found, sheet, is_apart);
    log(found, sheet);
    clients(found, sheet);
    tokens(found, sheet);
    limits(found, sheet);
    api(found, sheet, is_apart);
    streams(found, sheet);
    always_there(found);
}

/// Translates the addresses. Returns `true` if the API has one of its own there.
fn listening(found: &mut Found, sheet: &mut Sheet) -> bool {
    let address = found.text("http_server.address").unwrap_or_default();
    let port = found.number("http_server.port").unwrap_or(PORT);
    sheet.set("listen", at(&address, port), "http_server.address");
    let (of, internal) = ("http_server.internal_port", found.number("http_server.internal_port"));
    let address = found.text("http_server.internal_address");
    let Some(port) = internal else {
        if address.is_some() {
            sheet.note("http_server.internal_address", "it says nothing without internal_port");
        }
        let text = "metrics and health are at an address of their own here: see admin";
        sheet.note("http_server", text);
        return false;
    };
    let has_key = found.has_below("http_api.key");
    let address = address.unwrap_or_default();
    if !has_key && !matches!(address.as_str(), "127.0.0.1" | "localhost" | "::1") {
        sheet.note(of, "without an API key the admin address is one of this host only");
        sheet.set("admin", at("127.0.0.1", port), of);
    } else {
        sheet.set("admin", at(&address, port), of);
    }
    true
}

/// Translates the certificates, which are files here. There each may be one, or PEM itself.
fn certificates(found: &mut Found, sheet: &mut Sheet, is_apart: bool) {
    let of_admin = ("http_server.internal_tls", ["admin-tls-cert", "admin-tls-key"]);
    let of_clients = ("http_server.tls", ["tls-cert", "tls-key"]);
    for (section, names) in [Some(of_clients), is_apart.then_some(of_admin)].into_iter().flatten() {
        let of = format!("{section}.enabled");
        if found.maybe_switch(&of) != Some(true) {
            continue;
        }
        for (of, name) in ["cert_pem", "key_pem"].into_iter().zip(names) {
            let of = format!("{section}.{of}");
            match found.text(&of) {
                Some(text) if is_pem(&text) => {
                    let key = name.replace('-', "_");
                    sheet.note(&of, &format!("put it into a file, and set {key} to its path"));
                }
                Some(path) => sheet.set(name, path, &of),
                None => {}
            }
        }
    }
    let is_external = found.switch("http_server.tls_external");
    if is_apart && !is_external && sheet.has("tls-cert") && !sheet.has("admin-tls-cert") {
        let text = "the admin address speaks TLS with admin_tls_cert and admin_tls_key only";
        sheet.note("http_server.tls", text);
    }
}

/// Returns `true` for PEM as it is, or in base64.
fn is_pem(text: &str) -> bool {
    text.contains("-----BEGIN") || text.starts_with("LS0tLS1CRUdJTi")
}

fn at(address: &str, port: i64) -> String {
    if address.contains(':') && !address.starts_with('[') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

fn log(found: &mut Found, sheet: &mut Sheet) {
    let Some(level) = found.text("log.level") else { return };
    let level = match level.as_str() {
        "none" | "fatal" => {
            sheet.note("log.level", "the quietest level here is error");
            "error"
        }
        level => level,
    };
    sheet.set("log-level", level, "log.level");
}

fn clients(found: &mut Found, sheet: &mut Sheet) {
    let origins = found.texts("client.allowed_origins");
    if origins.iter().any(|origin| origin == "*") {
        sheet.set("allowed-origins", "*", "client.allowed_origins");
    } else if !origins.is_empty() {
        let list: Vec<toml::Value> = origins.into_iter().map(Into::into).collect();
        sheet.set("allowed-origins", list, "client.allowed_origins");
    }
    let is_single = found.switch("client.subscribe_to_user_personal_channel.single_connection");
    let of = "client.user_connection_limit";
    match found.number(of) {
        Some(1) => sheet.set("on-duplicate-user", "refuse", of),
        _ if is_single => sheet.set("on-duplicate-user", "replace", of),
        limit => {
            // Any number of clients may be one user there.
            sheet.set("on-duplicate-user", "allow", of);
            if limit.is_some_and(|limit| limit > 0) {
                sheet.note(of, "a user has one client or any number here: any number is set");
            }
        }
    }
    let may_be_nobody = found.switch("client.allow_anonymous_connect_without_token");
    let needs_user = found.switch("client.disallow_anonymous_connection_tokens");
    let asks = found.has_below("client.proxy.connect.endpoint")
        && found.is_on("client.proxy.connect.enabled");
    let is_insecure = found.maybe_switch("client.insecure") == Some(true);
    if is_insecure {
        sheet.note("client.insecure", "the rules below let anyone subscribe and publish instead");
        sheet.insecure = true;
    } else if !may_be_nobody && (needs_user || !asks) {
        sheet.set("require-user", true, "client.allow_anonymous_connect_without_token");
    }
    if let Some(header) = found.text("client.user_id_http_header") {
        let text = format!(
            "set user_from = \"header:{header}\" and trusted_proxies, the networks of the proxies \
             that set this header"
        );
        sheet.note("client.user_id_http_header", &text);
    }
    for (of, name) in
        [("client.ping_interval", "ping-interval"), ("client.pong_timeout", "pong-timeout")]
    {
        match found.text(of).as_deref() {
            None => {}
            Some(time) if time.starts_with('-') && name == "ping-interval" => {
                sheet.set(name, "0s", of);
            }
            Some(time) => sheet.set(name, time, of),
        }
    }
    if let Some(time) = found.text("client.stale_close_delay") {
        sheet.set("handshake-timeout", time, "client.stale_close_delay");
    }
}

fn tokens(found: &mut Found, sheet: &mut Sheet) {
    if let Some(secret) = found.text("client.token.hmac_secret_key") {
        sheet.set("token-hmac-secret", secret, "client.token.hmac_secret_key");
    }
    let of = "client.token.rsa_public_key";
    let keys: Vec<String> = [of, "client.token.ecdsa_public_key"]
        .into_iter()
        .filter_map(|path| found.text(path))
        .collect();
    if !keys.is_empty() {
        sheet.set("token-public-key", keys.join("\n"), of);
    }
    for (of, name) in [
        ("client.token.jwks_public_endpoint", "token-jwks"),
        ("client.token.audience", "token-audience"),
        ("client.token.issuer", "token-issuer"),
        ("client.token.user_id_claim", "token-user-claim"),
    ] {
        if let Some(text) = found.text(of) {
            sheet.set(name, text, of);
        }
    }
    if found.has_below("client.subscription_token") {
        let of = "client.subscription_token";
        sheet.note(of, "tokens of subscriptions are verified with the keys of connections here");
    }
}

fn limits(found: &mut Found, sheet: &mut Sheet) {
    for (of, name) in [
        ("client.channel_limit", "channels-per-client"),
        ("client.queue_max_size", "outbox-bytes"),
        ("client.connection_limit", "max-clients"),
        ("channel.max_length", "name-bytes"),
        ("websocket.message_size_limit", "message-bytes"),
    ] {
        // Zero is no limit there, and the default here is a large one.
        if let Some(number) = found.number(of).filter(|number| *number > 0) {
            sheet.set(name, number, of);
        }
    }
    for (of, name) in
        [("websocket.write_timeout", "write-timeout"), ("shutdown.timeout", "drain-timeout")]
    {
        if let Some(time) = found.text(of) {
            sheet.set(name, time, of);
        }
    }
    if found.switch("websocket.compression") {
        sheet.set("compression", "on", "websocket.compression");
    }
}

fn api(found: &mut Found, sheet: &mut Sheet, is_apart: bool) {
    if let Some(key) = found.text("http_api.key") {
        sheet.set("api-key", key, "http_api.key");
    }
    if found.switch("http_api.insecure") {
        sheet.note("http_api.insecure", "the API asks for no key if api_key is not set");
    }
    let is_external = found.switch("http_api.external");
    if is_apart && !is_external || found.is_on("http_api.disabled") {
        return;
    }
    if sheet.has("api-key") {
        sheet.set("public-api", true, "http_api");
    } else {
        let text = "without a key the API is not served at the clients' address here: set api_key \
                    and public_api = true";
        sheet.note("http_api", text);
    }
}

/// The transports over HTTP, and those of clients that only listen.
fn streams(found: &mut Found, sheet: &mut Sheet) {
    for (section, is_body) in [
        ("sse", true),
        ("http_stream", true),
        ("uni_sse", true),
        ("uni_http_stream", true),
        ("uni_websocket", false),
    ] {
        let of = format!("{section}.enabled");
        if found.maybe_switch(&of) == Some(false) {
            sheet.note(&of, "it is always served here");
        }
        let of = format!("{section}.handler_prefix");
        let path = format!("/connection/{section}");
        if found.text(&of).is_some_and(|text| text != path) {
            sheet.note(&of, &format!("it is {path} here; path_prefix puts a path in front of all"));
        }
        let of = format!("{section}.max_request_body_size");
        if is_body && found.number(&of).is_some_and(|bytes| bytes != BODY_BYTES) {
            sheet.note(&of, &format!("the body of a request has {BODY_BYTES} bytes at most here"));
        }
    }
}

/// The things that are there whatever is said about them, if that is what is said.
fn always_there(found: &mut Found) {
    let usual = [
        ("engine.type", "memory"),
        ("http_api.handler_prefix", "/api"),
        ("prometheus.handler_prefix", "/metrics"),
        ("health.handler_prefix", "/health"),
        ("websocket.handler_prefix", "/connection/websocket"),
        ("emulation.handler_prefix", "/emulation"),
        ("channel.namespace_boundary", ":"),
        ("rpc.namespace_boundary", ":"),
    ];
    for (path, value) in usual {
        if let Some(text) = found.text(path).filter(|text| text != value) {
            found.put_back(path, text);
        }
    }
    for (path, wanted) in [
        ("prometheus.enabled", true),
        ("health.enabled", true),
        ("http_api.disabled", false),
        ("websocket.disabled", false),
        ("grpc_api.enabled", false),
        ("uni_grpc.enabled", false),
        ("webtransport.enabled", false),
        ("debug.enabled", false),
        ("swagger.enabled", false),
        ("usage_stats.disabled", true),
        ("client.insecure_skip_token_signature_verify", false),
        ("http_server.tls.enabled", false),
    ] {
        if let Some(switch) = found.maybe_switch(path).filter(|switch| *switch != wanted) {
            found.put_back(path, switch);
        }
    }
}
