//! The figures of one app, which outlive a reload of the rules. Relaxed everywhere: they order
//! nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of one app. All shards and the control plane count in the same ones, when a client
/// comes or goes and when a request or an event comes in, never for a delivery.
#[derive(Debug, Default)]
pub struct AppTally {
    clients: AtomicU64,
    connections: AtomicU64,
    refused: AtomicU64,
    client_events: AtomicU64,
    api_requests: AtomicU64,
    api_refused: AtomicU64,
    api_events: AtomicU64,
    webhook_events: AtomicU64,
    webhook_failures: AtomicU64,
    webhook_drops: AtomicU64,
    /// Requests of the backend that are being answered.
    requests: AtomicU64,
}

/// The place of a request among those that are answered at once. It is free again when this goes.
#[derive(Debug)]
pub struct RequestPlace(Arc<AppTally>);

impl Drop for RequestPlace {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The figures of one app at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AppFigures {
    /// Clients that are connected.
    pub clients: u64,
    /// Clients that were let in.
    pub connections: u64,
    /// Clients that were refused because the app had as many as it may have.
    pub refused: u64,
    /// Events that clients have sent to others.
    pub client_events: u64,
    /// Requests of its backend.
    pub api_requests: u64,
    /// Requests whose signature was not good.
    pub api_refused: u64,
    /// Events that its backend has sent, once for each channel.
    pub api_events: u64,
    /// Events that the webhooks of the app have taken.
    pub webhook_events: u64,
    /// Posts that a webhook has not taken.
    pub webhook_failures: u64,
    /// Events that no webhook was told of: too many waited, or it took none for too long.
    pub webhook_drops: u64,
}

/// Tallies are no part of an app's rules.
impl PartialEq for AppTally {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for AppTally {}

fn add(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed)
}

impl AppTally {
    /// Counts a client in, unless the app has `most` already; zero: it may have any number.
    /// Returns `false` if it has.
    #[must_use]
    pub fn come(&self, most: u32) -> bool {
        if most > 0 && add(&self.clients) >= u64::from(most) {
            self.go();
            add(&self.refused);
            return false;
        } else if most == 0 {
            add(&self.clients);
        }
        add(&self.connections);
        true
    }

    /// Counts out a client that was counted in.
    pub fn go(&self) {
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts an event of a client for others.
    pub fn count_client_event(&self) {
        add(&self.client_events);
    }

    /// Counts a request of the backend.
    pub fn count_request(&self) {
        add(&self.api_requests);
    }

    /// Takes a place for a request, unless so many of the app are being answered.
    pub fn take_place(self: &Arc<Self>, most: u64) -> Option<RequestPlace> {
        // It counts back when it goes, also if it was one too many.
        let place = RequestPlace(Arc::clone(self));
        (add(&self.requests) < most).then_some(place)
    }

    /// Counts a request whose signature is not good.
    pub fn count_refused_request(&self) {
        add(&self.api_refused);
    }

    /// Counts an event of the backend.
    pub fn count_event(&self) {
        add(&self.api_events);
    }

    /// Counts events that a webhook has taken.
    pub fn count_told(&self, events: u64) {
        self.webhook_events.fetch_add(events, Ordering::Relaxed);
    }

    /// Counts a post that a webhook has not taken.
    pub fn count_failed_post(&self) {
        add(&self.webhook_failures);
    }

    /// Counts events that a webhook will not be told of.
    pub fn count_dropped(&self, events: u64) {
        self.webhook_drops.fetch_add(events, Ordering::Relaxed);
    }

    /// Returns the figures now.
    pub fn figures(&self) -> AppFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        AppFigures {
            clients: read(&self.clients),
            connections: read(&self.connections),
            refused: read(&self.refused),
            client_events: read(&self.client_events),
            api_requests: read(&self.api_requests),
            api_refused: read(&self.api_refused),
            api_events: read(&self.api_events),
            webhook_events: read(&self.webhook_events),
            webhook_failures: read(&self.webhook_failures),
            webhook_drops: read(&self.webhook_drops),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_has_no_more_requests_at_once_than_it_may() {
        let tally = Arc::new(AppTally::default());
        let places = [(); 3].map(|()| tally.take_place(2));
        assert_eq!(places.each_ref().map(Option::is_some), [true, true, false]);
        drop(places);
        assert!(tally.take_place(1).is_some() && tally.take_place(1).is_some());
    }

    #[test]
    fn an_app_has_no_more_clients_than_it_may() {
        let tally = AppTally::default();
        assert!(tally.come(2) && tally.come(2) && !tally.come(2));
        tally.go();
        assert!(tally.come(2) && !tally.come(1) && tally.come(0));
        let figures = tally.figures();
        assert_eq!((figures.clients, figures.connections, figures.refused), (3, 4, 2));
    }
}
