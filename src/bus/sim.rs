//! The protocol of the bus without a network: a stream that stores in order and may lose its
//! connections, answers and live messages, between nodes whose windows and flows are the real ones.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use stentor_shards::{Carried, Epoch, FromBus, Ticket};

use super::flow::{Fetched, Flow, Live, Step, Wanted};
use super::names::key_of;
use super::window::Window;

const CHANNELS: [&str; 3] = ["a", "b", "c:d"];

/// The most publications of one channel that the stream has.
const PER_CHANNEL: usize = 8;

/// The engine.
#[derive(Default)]
struct Stream {
    sequence: u64,
    stored: BTreeMap<u64, (Arc<str>, Bytes)>,
    known: HashMap<String, u64>,
    /// The newest of each channel.
    last: HashMap<Arc<str>, u64>,
    first: u64,
}

impl Stream {
    /// Stores a publication, once for each number. Returns its place, and what is sent on if it is
    /// new.
    fn store(&mut self, id: String, channel: &str, body: Bytes) -> (u64, Option<(Arc<str>, Live)>) {
        if let Some(sequence) = self.known.get(&id) {
            return (*sequence, None);
        }
        self.sequence += 1;
        let (sequence, key) = (self.sequence, Arc::<str>::from(key_of(channel)));
        self.known.insert(id, sequence);
        let previous = self.last.insert(Arc::clone(&key), sequence).unwrap_or(0);
        self.stored.insert(sequence, (Arc::clone(&key), body.clone()));
        let own: Vec<u64> =
            self.stored.iter().filter(|(_, (one, _))| *one == key).map(|(at, _)| *at).collect();
        if own.len() > PER_CHANNEL {
            self.stored.remove(&own[0]);
        }
        self.first = self.stored.keys().next().copied().unwrap_or(sequence);
        (sequence, Some((key, Live { sequence, previous, body })))
    }

    fn fetch(&self, wanted: &Wanted) -> Fetched {
        let from = wanted.from.unwrap_or(0);
        let own = self.stored.range(from..).filter(|(_, (key, _))| *key == wanted.key);
        let kept: Vec<(u64, Bytes)> = own.map(|(at, (_, body))| (*at, body.clone())).collect();
        let newest = kept.last().map_or(0, |(at, _)| *at);
        let floor = if from == 0 && kept.len() < PER_CHANNEL {
            self.first.saturating_sub(1)
        } else {
            kept.first().map_or(0, |(at, _)| at - 1)
        };
        let kept = if wanted.keeps { kept } else { Vec::new() };
        Fetched { kept, newest, floor, seen: self.sequence }
    }
}

/// A node.
struct Node {
    name: usize,
    window: Window,
    flow: Flow,
    next: u64,
    /// Sent, and not at the engine yet.
    wire: VecDeque<(u64, Carried)>,
    /// Answers and live messages on their way.
    answers: VecDeque<(u64, u64)>,
    live: VecDeque<(Arc<str>, Live)>,
    wanted: VecDeque<Wanted>,
    /// Offsets of each channel that its homes were told, and `true` for a gap in front of one.
    told: HashMap<Arc<str>, Vec<(u64, bool)>>,
    accepted: HashSet<u64>,
    is_up: bool,
}

impl Node {
    fn new(name: usize) -> Self {
        let epoch: Epoch = "00000001".parse().unwrap();
        let mut node = Self {
            name,
            window: Window::default(),
            flow: Flow::new(epoch),
            next: 0,
            wire: VecDeque::new(),
            answers: VecDeque::new(),
            live: VecDeque::new(),
            wanted: VecDeque::new(),
            told: HashMap::new(),
            accepted: HashSet::new(),
            is_up: true,
        };
        for channel in CHANNELS {
            let step = node.flow.open(channel.into(), true);
            node.perform(step);
        }
        node
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Fetch(wanted) => self.wanted.push_back(wanted),
            Step::Tell(FromBus::Numbered { channel, offset, .. }) => {
                self.told.entry(channel).or_default().push((offset, false));
            }
            Step::Tell(FromBus::Opened(opened)) => {
                let offset = opened.newest.offset;
                self.told.entry(opened.channel).or_default().push((offset, true));
            }
            Step::Tell(_) => unreachable!("a flow tells of channels"),
        }
    }

    fn publish(&mut self, channel: &str) {
        let body = Bytes::from(format!("{}-{}", self.name, self.next));
        let ticket = Ticket::of(0, self.next);
        self.next += 1;
        self.window.push(Carried { ticket, channel: channel.into(), body });
    }

    fn send(&mut self) {
        while self.is_up
            && let Some(sent) = self.window.next()
        {
            self.wire.push_back(sent);
        }
    }

    fn cut(&mut self) {
        self.is_up = false;
        self.wire.clear();
        self.answers.clear();
        self.live.clear();
        self.wanted.clear();
    }

    fn heal(&mut self) {
        if self.is_up {
            return;
        }
        self.is_up = true;
        self.window.go_back();
        for step in self.flow.resume(self.flow.epoch) {
            self.perform(step);
        }
    }

    fn take_answer(&mut self) {
        if let Some((number, _)) = self.answers.pop_front()
            && let Some(ticket) = self.window.settle(number)
        {
            assert!(self.accepted.insert(ticket.number()), "answered once");
        }
    }

    fn take_live(&mut self) {
        if let Some((key, live)) = self.live.pop_front()
            && let Some(step) = self.flow.live(&key, live)
        {
            self.perform(step);
        }
    }

    fn take_fetched(&mut self, stream: &Stream) {
        if let Some(wanted) = self.wanted.pop_front() {
            let fetched = stream.fetch(&wanted);
            for step in self.flow.fetched(&wanted, fetched) {
                self.perform(step);
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Publish(usize, usize),
    Send(usize),
    Store(usize),
    Answer(usize),
    Hear(usize),
    Lose(usize),
    Fetch(usize),
    Cut(usize),
    Heal(usize),
    Doubt(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let node = 0..3_usize;
    let channel = 0..CHANNELS.len();
    prop_oneof![
        6 => (node.clone(), channel).prop_map(|(node, to)| Act::Publish(node, to)),
        6 => node.clone().prop_map(Act::Send),
        8 => node.clone().prop_map(Act::Store),
        6 => node.clone().prop_map(Act::Answer),
        12 => node.clone().prop_map(Act::Hear),
        1 => node.clone().prop_map(Act::Lose),
        4 => node.clone().prop_map(Act::Fetch),
        1 => node.clone().prop_map(Act::Cut),
        2 => node.clone().prop_map(Act::Heal),
        1 => node.prop_map(Act::Doubt),
    ]
}

fn store_one(nodes: &mut [Node], from: usize, stream: &mut Stream) {
    let Some((number, carried)) = nodes[from].wire.pop_front() else { return };
    let id = format!("{from}-{number}");
    let (sequence, sent_on) = stream.store(id, &carried.channel, carried.body);
    nodes[from].answers.push_back((number, sequence));
    if let Some((key, live)) = sent_on {
        for node in nodes.iter_mut().filter(|node| node.is_up) {
            node.live.push_back((Arc::clone(&key), live.clone()));
        }
    }
}

fn perform(nodes: &mut [Node], stream: &mut Stream, act: Act) {
    match act {
        Act::Publish(node, channel) => nodes[node].publish(CHANNELS[channel]),
        Act::Send(node) => nodes[node].send(),
        Act::Store(node) => store_one(nodes, node, stream),
        Act::Answer(node) => nodes[node].take_answer(),
        Act::Hear(node) => nodes[node].take_live(),
        Act::Lose(node) => drop(nodes[node].live.pop_front()),
        Act::Fetch(node) => nodes[node].take_fetched(stream),
        Act::Cut(node) => nodes[node].cut(),
        Act::Heal(node) => nodes[node].heal(),
        Act::Doubt(node) => {
            let steps: Vec<Step> = nodes[node]
                .flow
                .keys()
                .iter()
                .filter_map(|key| nodes[node].flow.doubt(key))
                .collect();
            for step in steps {
                nodes[node].perform(step);
            }
        }
    }
}

/// Lets everything arrive.
fn settle(nodes: &mut [Node], stream: &mut Stream) {
    for round in 0..2 {
        for at in 0..nodes.len() {
            nodes[at].heal();
            nodes[at].send();
            while !nodes[at].wire.is_empty() {
                store_one(nodes, at, stream);
                nodes[at].send();
            }
        }
        for node in &mut *nodes {
            while !node.answers.is_empty() {
                node.take_answer();
            }
            while !node.live.is_empty() || !node.wanted.is_empty() {
                node.take_live();
                node.take_fetched(stream);
            }
        }
        if round == 0 {
            for at in 0..nodes.len() {
                perform(nodes, stream, Act::Doubt(at));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever is lost on the way: each publication is stored once and in its publisher's order,
    /// and every node tells one order, in which nothing is left out without a gap told.
    #[test]
    fn nothing_is_doubled_and_nothing_left_out_in_silence(
        acts in proptest::collection::vec(act(), 0..400)
    ) {
        let mut stream = Stream::default();
        let mut nodes: Vec<Node> = (0..3).map(Node::new).collect();
        let mut order: Vec<(u64, Arc<str>, Bytes)> = Vec::new();
        for act in acts {
            perform(&mut nodes, &mut stream, act);
            let newest = order.last().map_or(0, |(at, ..)| *at);
            let more = stream.stored.range(newest + 1..);
            order.extend(more.map(|(at, (key, body))| (*at, Arc::clone(key), body.clone())));
        }
        // More than this would leave the stream before it is looked at.
        settle(&mut nodes, &mut stream);
        for node in &nodes {
            prop_assert_eq!(node.accepted.len() as u64, node.next, "all have a place");
            prop_assert_eq!(node.window.len(), 0);
            let name = format!("{}-", node.name);
            let stored = stream.known.keys().filter(|id| id.starts_with(&name)).count();
            prop_assert_eq!(stored as u64, node.next);
            for channel in CHANNELS {
                let mut known = 0;
                let key: Arc<str> = key_of(channel).into();
                let all: Vec<u64> = stream_order(&order, &stream, &key);
                for &(offset, is_gap) in node.told.get(channel).into_iter().flatten() {
                    prop_assert!(offset > known || is_gap, "offsets grow");
                    if !is_gap {
                        let between = |at: &&u64| **at > known && **at < offset;
                        let left_out = all.iter().filter(between).count();
                        prop_assert_eq!(left_out, 0, "{} of {} behind {}", offset, channel, known);
                    }
                    known = offset;
                }
                prop_assert_eq!(known, all.last().copied().unwrap_or(0), "up to the newest");
            }
        }
    }
}

/// The offsets of a channel, of all that was ever stored as far as it was seen.
fn stream_order(order: &[(u64, Arc<str>, Bytes)], stream: &Stream, key: &Arc<str>) -> Vec<u64> {
    let seen = order.iter().filter(|(_, one, _)| one == key).map(|(at, ..)| *at);
    let newest = order.last().map_or(0, |(at, ..)| *at);
    let rest = stream.stored.range(newest + 1..).filter(|(_, (one, _))| one == key);
    seen.chain(rest.map(|(at, _)| *at)).collect()
}
