//! Seeded schedules of subscriptions that end, on one to four shards: none ends early, none is
//! there behind its end, nothing is told behind it, and nothing is left out before.

use std::collections::BTreeMap;

use super::books::check_books;
use super::client::Client;
use super::dice::Dice;
use super::lapses::{come, pass, shards, told};
use super::members::{dismiss, enlist};
use super::run::Shards;
use crate::model::id::ClientId;

const ROOMS: [&str; 3] = ["$north", "$south", "$west"];

/// A member as its client has been told.
#[derive(Debug, Clone, Copy)]
struct Membership {
    next: u64,
    /// The second at which it ends, give or take one.
    end_s: Option<u64>,
}

/// A client under the schedule, and what it should be by what it was told.
struct Watched {
    client: Client,
    id: ClientId,
    shard: usize,
    /// Frames that were looked at.
    seen: usize,
    /// The end that each request asked for, by its id.
    asked: Vec<Option<u64>>,
    rooms: BTreeMap<String, Membership>,
}

impl Watched {
    fn ask(&mut self, shards: &mut Shards, kind: &str, room: &str, lasts: Option<u64>) {
        let id = self.asked.len();
        let lasts_text = lasts.map(|lasts| lasts.to_string()).unwrap_or_default();
        let token = format!("{room}.{lasts_text}.0");
        self.asked.push(lasts.map(|lasts| shards.now.ns / 1_000_000_000 + lasts));
        self.client
            .ask(&format!(r#"{{"type":"{kind}","channel":"{room}","token":"{token}","id":{id}}}"#));
        // So that the token is read at this time, behind what the client has said before.
        (0..4).for_each(|_| shards.turn(self.shard));
    }

    /// Follows what the client was told until now.
    fn follow(&mut self, now_s: u64) {
        let all = told(&self.client);
        for one in &all[self.seen..] {
            let room = one["channel"].as_str().unwrap_or_default().to_owned();
            let end_s = one["id"].as_u64().and_then(|id| self.asked[usize::try_from(id).unwrap()]);
            let offset = one["offset"].as_u64().unwrap_or_default();
            match one["type"].as_str().unwrap() {
                "joined" => {
                    let next = self.rooms.get(&room).map_or(offset + 1, |known| known.next);
                    self.rooms.insert(room, Membership { next, end_s });
                }
                "refreshed" => self.rooms.get_mut(&room).expect("a member").end_s = end_s,
                "message" => {
                    let known = self.rooms.get_mut(&room).expect("only members are told");
                    assert_eq!(offset, known.next, "{room}: nothing is left out or told twice");
                    known.next += 1;
                }
                "left" => {
                    // One that gave up its way in is told so as well.
                    let known = self.rooms.remove(&room);
                    let end_s = known.and_then(|known| known.end_s);
                    let early = end_s.is_none_or(|end_s| now_s + 1 < end_s);
                    assert!(one["reason"] != "expired" || !early, "{known:?} at {now_s}");
                }
                _ => {}
            }
        }
        self.seen = all.len();
        for (room, known) in &self.rooms {
            let late = known.end_s.is_some_and(|end_s| end_s < now_s);
            assert!(!late, "{room}: {known:?} at {now_s}");
        }
    }
}

#[test]
fn seeded_runs_end_each_subscription_in_time() {
    let (mut expired, mut refreshed) = (0, 0);
    for seed in 0..150 {
        let mut dice = Dice::seeded(seed);
        let count = 1 + dice.below(4);
        let mut shards = shards(count, seed);
        let mut clients: Vec<Watched> = Vec::new();
        for _ in 0..6 {
            let shard = dice.below(count);
            let (client, id) = come(&mut shards, shard);
            let (seen, asked, rooms) = (0, Vec::new(), BTreeMap::new());
            clients.push(Watched { client, id, shard, seen, asked, rooms });
        }
        for _ in 0..150 {
            let (room, one) = (ROOMS[dice.below(3)], dice.below(6));
            let watched = &mut clients[one];
            let lasts = [None, Some(2), Some(5), Some(60)][dice.below(4)];
            match dice.below(12) {
                0..3 => watched.ask(&mut shards, "join", room, lasts),
                3 => watched.ask(&mut shards, "refresh", room, lasts),
                4 => watched.ask(&mut shards, "leave", room, None),
                5 => drop(enlist(&mut shards, watched.id, room, None, false)),
                6 => drop(dismiss(&mut shards, watched.id, room)),
                7 => shards.now.ns += 400_000_000 * dice.below(10) as u64,
                8 => {
                    shards.come_to_rest(|| {});
                    // Twice: what was under way at first is in by now.
                    pass(&mut shards, 0);
                    let now_s = shards.now.ns / 1_000_000_000;
                    for watched in &mut clients {
                        watched.follow(now_s);
                    }
                }
                9 | 10 => {
                    let ask = format!(r#"{{"type":"publish","channel":"{room}","body":1}}"#);
                    watched.client.ask(&ask);
                }
                _ => shards.turn(dice.below(count)),
            }
        }
        pass(&mut shards, 100);
        pass(&mut shards, 1);
        let now_s = shards.now.ns / 1_000_000_000;
        for watched in &mut clients {
            watched.follow(now_s);
        }
        check_books(&shards.all);
        for shard in &shards.all {
            assert!(!shard.clients.has_ends(), "seed {seed}: nothing ends any more");
            expired += shard.clients.tally.expired_subscriptions;
            refreshed += shard.clients.tally.refreshed_subscriptions;
        }
        for watched in &clients {
            let roster = &shards.all[watched.shard].clients.roster;
            let seats = roster.get(watched.id.slot).unwrap().seats().count();
            assert_eq!(seats, watched.rooms.len(), "seed {seed}: seats as the client was told");
        }
    }
    assert!(expired > 100 && refreshed > 100, "{expired} expired, {refreshed} refreshed");
}
