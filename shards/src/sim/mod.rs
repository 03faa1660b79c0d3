//! Whole shards in one thread under a schedule: real stages, real lanes, simulated sockets and
//! time.
//!
//! Each seed makes its own run of connects, publications, joins, stalls, replacements, cuts and
//! turns in any order, with lanes so small that they are full most of the time. Afterwards
//! everything is let go, and these must hold: the run comes to rest (no ring of waiting shards),
//! every client that stayed saw its channels' orders while it was a member, whole and once, nothing
//! that a client said before it stayed silent is lost, a user has one client, and the tables of all
//! shards agree. `SIM_SEED=7` runs one seed, `SIM_SEEDS=10000` so many.

#[cfg(test)]
mod apps;
pub(crate) mod books;
#[cfg(test)]
mod bounds;
pub(crate) mod client;
#[cfg(test)]
mod deltas;
#[cfg(test)]
mod dialects;
pub(crate) mod dice;
#[cfg(test)]
mod entries;
#[cfg(test)]
mod gaps;
#[cfg(test)]
mod holes;
pub(crate) mod reader;
#[cfg(test)]
mod lapse_seeds;
#[cfg(test)]
mod lapses;
pub(crate) mod members;
#[cfg(test)]
mod enlisted;
#[cfg(test)]
mod pongs;
#[cfg(test)]
mod returns;
#[cfg(test)]
mod presence;
#[cfg(test)]
mod rules;
pub(crate) mod run;
pub(crate) mod sealed;
#[cfg(test)]
mod sealed_seeds;
#[cfg(test)]
mod sealed_storms;
#[cfg(test)]
mod sealed_ends;
#[cfg(test)]
mod seats;
#[cfg(test)]
mod several;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod turns;
#[cfg(test)]
mod two;
#[cfg(test)]
mod deflated;
#[cfg(test)]
mod pair;
#[cfg(test)]
mod passage;
#[cfg(test)]
mod moved;
#[cfg(test)]
mod windows;
pub(crate) mod words;
mod world;

use std::collections::{BTreeMap, HashMap};

use books::check_books;
use client::{Client, Heard};
use dice::Dice;
use run::{Run, USERS};

type Order = BTreeMap<u64, String>;

/// Every publication of a channel by its offset, from all that clients were told; they must agree.
fn orders(heard: &[(usize, Vec<Heard>)]) -> HashMap<String, Order> {
    let mut orders: HashMap<String, Order> = HashMap::new();
    for (client, heard) in heard {
        for heard in heard {
            if let Heard::Json { channel, offset, body } = heard {
                let order = orders.entry(channel.clone()).or_default();
                let known = order.entry(*offset).or_insert_with(|| body.clone());
                assert_eq!(known, body, "client {client}: two publications with offset {offset}");
            }
        }
    }
    orders
}

/// Returns `true` if nothing was left out from `next` to `offset` but a client's own words, which
/// it did not want back.
fn follows(client: &Client, order: &Order, next: u64, offset: u64) -> bool {
    // Nobody else may have been there who was told the number of its word.
    let own = |body: Option<&String>| {
        client.wish.echoless && body.is_none_or(|body| client.words.contains(body))
    };
    next <= offset && (next..offset).all(|left_out| own(order.get(&left_out)))
}

/// Checks that a plain client which stayed heard an unbroken piece of its channel's order.
fn check_plain(index: usize, client: &Client, heard: &[Heard], order: &Order) {
    let mut next = client.start().map(|start| start + 1);
    for heard in heard {
        let Heard::Plain(text) = heard else { continue };
        // Without a client in the channel that is told the numbers nobody knows them.
        let Some((offset, _)) = order.iter().find(|(_, body)| *body == text) else { return };
        let unbroken = next.is_none_or(|next| follows(client, order, next, *offset));
        assert!(unbroken, "client {index}: {heard:?}");
        next = Some(offset + 1);
    }
    let end = order.last_key_value().map_or(0, |(newest, _)| newest + 1);
    // Those behind the end that clients with numbers know of cannot be told apart.
    let whole = next.is_none_or(|next| next > end || follows(client, order, next, end));
    assert!(whole, "client {index} has not heard all before {end}: {heard:?}");
}

/// Checks that the ids of events are the positions of their publications.
fn check_positions(client: &Client, order: Option<&Order>) {
    for (id, text) in client.positions() {
        let offset = id.split_once(':').and_then(|(_, offset)| offset.parse().ok()).expect("an id");
        let known = order.and_then(|order| order.get(&offset));
        assert!(known.is_none_or(|known| *known == text), "{id} is {known:?}, and not {text:?}");
    }
}

/// Checks what a client was told before it became a member again: everything behind the publication
/// that it named, each once and in order, or a beginning of that where the rest is not there.
fn check_missed(
    (client, order): (&Client, &Order),
    missed: &[u64],
    newest: u64,
    recovered: Option<(Option<usize>, bool)>,
) {
    let Some((number, whole)) = recovered else {
        // Newer ones may have come while it was told these.
        let asked = client.wish.last.is_some() || missed.is_empty();
        assert!(asked, "nobody asked for {missed:?}");
        // Its offsets tell it what the history has lost meanwhile.
        let in_order = missed.windows(2).all(|pair| follows(client, order, pair[0] + 1, pair[1]));
        let before = missed.last().is_none_or(|last| *last <= newest);
        return assert!(in_order && before, "{missed:?} up to {newest}");
    };
    let asked = number.map(|number| client.sinces[number]);
    let since = asked.or(client.wish.since.map(|(_, offset)| offset)).expect("a position");
    let mut next = since + 1;
    for offset in missed.iter().copied().chain(whole.then_some(newest + 1)) {
        let unbroken = follows(client, order, next, offset);
        assert!(unbroken, "{missed:?} behind {since} up to {newest}, whole: {whole}");
        let own = client.wish.echoless
            && order.get(&offset).is_some_and(|body| client.words.contains(body));
        assert!(!own || offset > newest, "it did not want {offset} back");
        next = offset + 1;
    }
}

/// Checks that a client with offsets heard each channel without a gap from its join to its leave,
/// and nothing else; if it stayed, up to the newest publication.
fn check_json(index: usize, client: &Client, heard: &[Heard], orders: &HashMap<String, Order>) {
    let nothing = Order::new();
    // The offset that must come next, where it is a member; `None` inside: any, it is the first.
    let mut next: HashMap<&str, Option<u64>> = HashMap::new();
    let is_member = client.wish.since.is_none() && client.wish.last.is_none();
    next.extend(client.wish.channel.filter(|_| is_member).map(|channel| (channel, None)));
    // Messages of channels that it is no member of: a part of those that it missed.
    let mut missed: HashMap<&str, Vec<u64>> = HashMap::new();
    for heard in heard {
        match heard {
            Heard::Json { channel, offset, .. } => {
                let order = orders.get(channel).unwrap_or(&nothing);
                let Some(next) = next.get_mut(channel.as_str()) else {
                    missed.entry(channel).or_default().push(*offset);
                    continue;
                };
                let unbroken = next.is_none_or(|next| follows(client, order, next, *offset));
                assert!(unbroken, "client {index}: {heard:?}");
                *next = Some(offset + 1);
            }
            Heard::Joined { channel, offset, recovered } => {
                let order = orders.get(channel).unwrap_or(&nothing);
                let before = next.insert(channel, Some(offset + 1)).flatten();
                let unbroken = before.is_none_or(|next| follows(client, order, next, offset + 1));
                assert!(unbroken, "client {index}: {heard:?}");
                let Some(missed) =
                    missed.remove(channel.as_str()).or(before.is_none().then(Vec::new))
                else {
                    continue;
                };
                check_missed((client, order), &missed, *offset, *recovered);
            }
            Heard::Left { channel } => {
                missed.remove(channel.as_str());
                next.remove(channel.as_str());
            }
            Heard::Gap { .. } => panic!("client {index} lost something: {heard:?}"),
            Heard::Plain(_) | Heard::Other => {}
        }
    }
    for (channel, next) in next {
        let order = orders.get(channel).unwrap_or(&nothing);
        let end = order.last_key_value().map_or(0, |(newest, _)| newest + 1);
        if let Some(next) = next.filter(|next| *next < end && client.stayed()) {
            let whole = follows(client, order, next, end);
            assert!(whole, "client {index} has not heard all of {channel}: {heard:?}");
        }
    }
}

/// Runs one schedule and holds its outcome against what must be true of each.
pub(crate) fn simulate(dice: Dice, seed: u64) {
    let mut run = Run::new(dice, seed);
    run.go(400);
    run.come_to_rest();
    judge(&run);
}

/// Holds the outcome of a run against what must be true of each.
fn judge(run: &Run) {
    let heard: Vec<(usize, Vec<Heard>)> =
        run.clients.iter().enumerate().map(|(index, client)| (index, client.heard())).collect();
    let orders = orders(&heard);
    for (index, heard) in &heard {
        let client = &run.clients[*index];
        let order = client.wish.channel.and_then(|channel| orders.get(channel));
        check_positions(client, order);
        if client.wish.json || client.wish.lines {
            check_json(*index, client, heard, &orders);
        } else if let (true, Some(order)) = (client.stayed(), order) {
            check_plain(*index, client, heard, order);
        }
    }
    let shards = &run.shards.all;
    let numbered: u64 = shards.iter().map(|shard| shard.clients.tally.publications).sum();
    let whole: usize = run.clients.iter().filter(|client| client.stayed()).map(|c| c.said).sum();
    assert!(numbered >= whole as u64, "{whole} said by those who stayed, {numbered} numbered");
    assert!(numbered <= run.said as u64, "more was numbered than said");
    for user in USERS {
        let live = run.clients.iter().filter(|c| c.wish.user == Some(user) && c.stayed()).count();
        assert!(live <= 1, "{live} clients are {user}");
    }
    let open: usize = shards.iter().map(|shard| shard.clients.open).sum();
    let stayed = run.clients.iter().filter(|client| client.stayed()).count();
    assert_eq!(open, stayed, "the shards and the clients disagree on who is there");
    check_books(shards);
    for shard in shards {
        assert_eq!(shard.clients.outboxes.bytes, 0, "everybody has read everything");
    }
}

/// Runs a schedule for each of so many seeds, or as the environment says. Returns the sum of what
/// the runs count, and `None` if the environment names a single seed.
pub(crate) fn for_each_seed(count: u64, run: fn(u64) -> u64) -> Option<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("SIM_SEED") {
        run(seed);
        return None;
    }
    let mut sum = 0;
    for seed in 0..number("SIM_SEEDS").unwrap_or(count) {
        let outcome = std::panic::catch_unwind(|| run(seed));
        sum += outcome.unwrap_or_else(|_| panic!("run it again with SIM_SEED={seed}"));
    }
    Some(sum)
}

#[test]
fn seeded_runs_keep_order_lose_nothing_and_come_to_rest() {
    for_each_seed(256, |seed| {
        simulate(Dice::seeded(seed), seed);
        0
    });
}
