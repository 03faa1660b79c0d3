//! The choice among several certificates by the host name that a client asks for.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::dates::now_s;
use super::pair::Pair;

/// Several certificates. A client that asks for no name, or for one that no certificate is good
/// for, is shown the first.
#[derive(Debug)]
pub(super) struct ByName {
    pairs: Vec<Pair>,
    /// The places of the certificates that have a name, in their order. A name with a star stands
    /// as it is in the certificate.
    by_name: HashMap<String, Vec<usize>>,
}

impl ByName {
    pub(super) fn new(pairs: Vec<Pair>) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, pair) in pairs.iter().enumerate() {
            for name in pair.names() {
                by_name.entry(name).or_default().push(place);
            }
        }
        Self { pairs, by_name }
    }

    /// The places of the certificates that are good for a name, in their order.
    fn places(&self, name: &str) -> Vec<usize> {
        let name = name.to_ascii_lowercase();
        // A star stands for one label.
        let starred = name.split_once('.').map(|(_, domain)| format!("*.{domain}"));
        let names = std::iter::once(name).chain(starred);
        let mut places: Vec<_> =
            names.filter_map(|name| self.by_name.get(&name)).flatten().copied().collect();
        places.sort_unstable();
        places
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let [only] = &*self.pairs {
            return Some(Arc::clone(only.shown(now_s)));
        }
        let schemes = hello.signature_schemes();
        let can = |pair: &&Pair| pair.key.key.choose_scheme(schemes).is_some();
        let places = hello.server_name().map(|name| self.places(name)).unwrap_or_default();
        let named = places.into_iter().map(|place| &self.pairs[place]).find(can);
        let chosen = named.or_else(|| self.pairs.iter().find(can)).or(self.pairs.first());
        chosen.map(|pair| Arc::clone(pair.shown(now_s)))
    }
}
