//! Messages of the bus to homes, and what they are told about an engine that is away.

use std::time::{Duration, Instant};

use stentor_shards::FromBus;
use tokio::time::sleep;

use super::Bus;
use crate::bus_status::Figure;

/// Publishers are held for so long while the engine is away, and are told then.
const HOLD_MAX: Duration = Duration::from_secs(5);

/// The pause before a home without room is tried again.
const ROOM_AGAIN: Duration = Duration::from_millis(1);

impl Bus {
    /// Tells homes that the engine is away, once publishers have been held for long enough, or that
    /// it is there again.
    pub(super) async fn note_away(&mut self, is_away: bool) {
        if is_away {
            let since = *self.away_since.get_or_insert_with(Instant::now);
            if since.elapsed() < HOLD_MAX {
                return;
            }
            for ticket in self.window.give_up() {
                self.status.add(Figure::Refused, 1);
                self.tell(FromBus::Refused { ticket }, 0).await;
            }
        }
        if self.status.is_away() != is_away {
            self.status.set_away(is_away);
            tracing::warn!(is_away, "the engine");
            self.tell_all(&FromBus::Away(is_away)).await;
        }
    }

    pub(super) async fn tell_all(&mut self, message: &FromBus) {
        for home in 0..self.lanes.homes() {
            self.tell(message.clone(), home).await;
        }
    }

    /// Hands a message to a home, which waits for nothing but other homes: there will be room.
    pub(super) async fn tell(&mut self, message: FromBus, home: usize) {
        let mut message = message;
        while let Err(back) = self.lanes.hand_on(message, home) {
            message = back;
            sleep(ROOM_AGAIN).await;
        }
    }
}
