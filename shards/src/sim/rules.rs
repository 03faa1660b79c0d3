//! Rules that change while clients come: whatever each shard has in force at which moment, the
//! tables of all shards agree at rest, and rules that are open again let everybody in.

use std::sync::Arc;

use super::books::check_books;
use super::client::{Client, Wish};
use super::dice::Dice;
use super::for_each_seed;
use super::run::Run;
use crate::rules::{ChannelRules, Marks, Publish, Rules, Subscribe};

/// The channels of namespaces that come and go.
const NAMED: [&str; 2] = ["team:1", "news:1"];

fn open(namespaces: &[&str]) -> Arc<Rules> {
    let namespaces = namespaces.iter().map(|name| ChannelRules::open(name)).collect();
    Arc::new(Rules::new(Marks::default(), ChannelRules::open(""), namespaces).unwrap())
}

/// Rules by the dice: some namespaces, some channels private, some things forbidden.
fn thrown(dice: &mut Dice) -> Arc<Rules> {
    let mut marks = Marks::default();
    if dice.below(3) == 0 {
        marks.private_prefix = "n".into();
    }
    let mut any = |name: &str| {
        let mut rules = ChannelRules::open(name);
        rules.subscribe =
            [Subscribe::Anyone, Subscribe::Anyone, Subscribe::Users, Subscribe::Nobody]
                [dice.below(4)];
        rules.publish =
            [Publish::Anyone, Publish::Users, Publish::Subscribers, Publish::Nobody][dice.below(4)];
        rules.presence = dice.below(2) == 0;
        rules.join_leave = dice.below(2) == 0;
        rules.messages_per_second = (dice.below(3) == 0).then_some(1);
        rules
    };
    let default = any("");
    let named = vec![any("team"), any("news")];
    let count = dice.below(3);
    Arc::new(Rules::new(marks, default, named.into_iter().take(count).collect()).unwrap())
}

fn connect(run: &mut Run, shard: usize, channel: &'static str, json: bool) {
    let wish = Wish { channel: Some(channel), json, ..Wish::default() };
    let (stream, client) = Client::connect(wish, usize::MAX);
    run.shards.accept(shard, stream);
    run.clients.push(client);
}

/// Returns the number of requests that were denied.
fn simulate(seed: u64) -> u64 {
    let mut run = Run::new(Dice::seeded(seed), seed);
    let mut dice = Dice::seeded(seed ^ 0x5eed);
    let shards = run.shards.all.len();
    for _ in 0..40 {
        run.go(10);
        let rules = thrown(&mut dice);
        run.shards.all[dice.below(shards)].rooms.channels.set_rules(rules);
        let channel = NAMED[dice.below(NAMED.len())];
        connect(&mut run, dice.below(shards), channel, dice.below(2) == 0);
    }
    run.come_to_rest();
    check_books(&run.shards.all);
    for shard in &mut run.shards.all {
        shard.rooms.channels.set_rules(open(&["team", "news"]));
    }
    let late = run.clients.len();
    for shard in 0..shards {
        for channel in NAMED {
            connect(&mut run, shard, channel, true);
        }
    }
    run.come_to_rest();
    check_books(&run.shards.all);
    for client in &run.clients[late..] {
        assert!(client.stayed(), "open rules let everybody in");
    }
    run.shards.all.iter().map(|shard| shard.clients.tally.denied).sum()
}

#[test]
fn rules_that_change_while_clients_come_leave_the_tables_agreed() {
    if let Some(denied) = for_each_seed(128, simulate) {
        assert!(denied > 100, "the rules hardly denied anything: {denied}");
    }
}
