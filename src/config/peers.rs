//! Origins of pages, and networks of proxies, as people type them.

use stentor_shards::{Network, OriginPattern, Origins, TrustedProxies};

use super::units::items;

pub(super) fn show_origins(origins: &Origins) -> String {
    match origins {
        Origins::Any => "*".into(),
        Origins::SameHost => "same-host".into(),
        Origins::Listed(listed) => joined(listed),
    }
}

pub(super) fn origins(text: &str) -> Result<Origins, String> {
    match text {
        "*" => return Ok(Origins::Any),
        word if word.eq_ignore_ascii_case("same-host") => return Ok(Origins::SameHost),
        _ => {}
    }
    let listed = text.split(',').map(str::trim).filter(|origin| *origin != "same-host");
    listed.map(OriginPattern::parse).collect::<Result<_, _>>().map(Origins::Listed)
}

pub(super) fn proxies(text: &str) -> Result<TrustedProxies, String> {
    let mut proxies = TrustedProxies::default();
    for one in items(text) {
        if one == "unix" {
            proxies.unix = true;
        } else {
            proxies.networks.push(Network::parse(one)?);
        }
    }
    Ok(proxies)
}

pub(super) fn show_proxies(proxies: &TrustedProxies) -> String {
    let networks = joined(&proxies.networks);
    let unix = if proxies.unix { "unix" } else { "" };
    let between = if networks.is_empty() || unix.is_empty() { "" } else { "," };
    format!("{networks}{between}{unix}")
}

fn joined<T: ToString>(parts: &[T]) -> String {
    parts.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}
