//! All channels, users and members of a server in one table without shards: it predicts the events
//! of every client.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Config, DuplicateUser};
use crate::sim::client::Wish;

/// One thing a client is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    Text(String),
    Welcome {
        client: String,
        user: Option<String>,
        channel: String,
    },
    Message {
        channel: String,
        offset: u64,
        from: String,
        user: Option<String>,
        body: String,
        direct: bool,
    },
    Presence {
        joined: bool,
        channel: String,
        client: String,
        user: Option<String>,
    },
    Joined {
        channel: String,
        offset: u64,
        id: Option<u64>,
    },
    Left {
        channel: String,
        id: Option<u64>,
    },
    Who {
        channel: String,
        clients: u64,
        users: Vec<String>,
        id: Option<u64>,
    },
    Ack {
        channel: String,
        offset: Option<u64>,
        clients: Option<u64>,
        id: Option<u64>,
    },
    Pong(Option<u64>),
    Error(String, Option<u64>),
    Close(u16),
}

/// One client.
pub(super) struct Member {
    wish: Wish,
    id: String,
    open: bool,
    /// Its channels; `true` if it hears of joins and leaves there.
    seats: BTreeMap<&'static str, bool>,
    told: Vec<Told>,
}

impl Member {
    pub(super) fn new(wish: Wish, id: String) -> Self {
        Self { wish, id, open: false, seats: BTreeMap::new(), told: Vec::new() }
    }

    fn user(&self) -> Option<String> {
        self.wish.user.map(str::to_owned)
    }
}

pub(super) struct Table {
    duplicate_user: DuplicateUser,
    channels_per_client: usize,
    clients_per_ip: usize,
    members: Vec<Member>,
    offsets: BTreeMap<&'static str, u64>,
}

impl Table {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            duplicate_user: config.duplicate_user,
            channels_per_client: config.channels_per_client,
            clients_per_ip: config.clients_per_ip as usize,
            members: Vec::new(),
            offsets: BTreeMap::new(),
        }
    }

    pub(super) fn is_open(&self, index: usize) -> bool {
        self.members[index].open
    }

    pub(super) fn tell(&mut self, index: usize, told: Told) {
        self.members[index].told.push(told);
    }

    pub(super) fn take_told(&mut self, index: usize) -> Vec<Told> {
        std::mem::take(&mut self.members[index].told)
    }

    fn open(&self) -> impl Iterator<Item = (usize, &Member)> {
        self.members.iter().enumerate().filter(|(_, member)| member.open)
    }

    /// A client came and was answered with this status.
    pub(super) fn connect(&mut self, mut member: Member, status: u16) {
        let wish = member.wish;
        let same_user: Vec<usize> = self
            .open()
            .filter(|(_, other)| wish.user.is_some() && other.wish.user == wish.user)
            .map(|(index, _)| index)
            .collect();
        let from_there = self.open().filter(|(_, other)| other.wish.peer == wish.peer).count();
        let taken = self.duplicate_user == DuplicateUser::Refuse && !same_user.is_empty();
        let full = self.clients_per_ip > 0 && from_there >= self.clients_per_ip;
        let right = match (taken, full) {
            (false, false) => status == 101,
            // The owner that answers first decides.
            (taken, full) => taken && status == 409 || full && status == 429,
        };
        assert!(right, "{status} where the user is taken: {taken}, the address full: {full}");
        let index = self.members.len();
        let channel = wish.channel.or((!wish.json).then_some("lobby"));
        member.open = status == 101;
        if member.open && wish.json {
            let (client, user) = (member.id.clone(), member.user());
            let channel = wish.channel.unwrap_or_default().to_owned();
            member.told.push(Told::Welcome { client, user, channel });
        }
        self.members.push(member);
        if status != 101 {
            return;
        }
        if let Some(channel) = channel {
            self.sit(index, channel, false);
        }
        if self.duplicate_user == DuplicateUser::Replace {
            for older in same_user {
                self.tell(older, Told::Close(3500));
                self.gone(older);
            }
        }
    }

    fn sit(&mut self, index: usize, channel: &'static str, presence: bool) {
        self.announce(index, channel, true);
        self.members[index].seats.insert(channel, presence);
    }

    fn rise(&mut self, index: usize, channel: &'static str) {
        self.members[index].seats.remove(channel);
        self.announce(index, channel, false);
    }

    fn announce(&mut self, index: usize, channel: &'static str, joined: bool) {
        let (client, user) = (self.members[index].id.clone(), self.members[index].user());
        let news = Told::Presence { joined, channel: channel.to_owned(), client, user };
        for (other, member) in self.members.iter_mut().enumerate() {
            if other != index && member.open && member.seats.get(channel) == Some(&true) {
                member.told.push(news.clone());
            }
        }
    }

    /// A client is connected no more.
    pub(super) fn gone(&mut self, index: usize) {
        self.members[index].open = false;
        for (channel, _) in std::mem::take(&mut self.members[index].seats) {
            self.announce(index, channel, false);
        }
    }

    pub(super) fn publish(&mut self, index: usize, channel: Option<&'static str>, id: Option<u64>) {
        let speaker = &self.members[index];
        let own = speaker.wish.channel.or((!speaker.wish.json).then_some("lobby"));
        let Some(channel) = channel.or(own) else {
            return self.tell(index, Told::Error("missing_field".into(), id));
        };
        let offset = self.offsets.entry(channel).or_default();
        *offset += 1;
        let message = Told::Message {
            channel: channel.to_owned(),
            offset: *offset,
            from: speaker.id.clone(),
            user: speaker.user(),
            body: "hello".into(),
            direct: false,
        };
        if let Some(id) = id {
            let (channel, offset) = (channel.to_owned(), Some(*offset));
            self.tell(index, Told::Ack { channel, offset, clients: None, id: Some(id) });
        }
        for (other, member) in self.members.iter_mut().enumerate() {
            let own_words = other == index && member.wish.echoless;
            if member.open && member.seats.contains_key(channel) && !own_words {
                member.hear(&message);
            }
        }
    }

    pub(super) fn join(
        &mut self,
        index: usize,
        channel: &'static str,
        presence: bool,
        id: Option<u64>,
    ) {
        if self.members[index].seats.len() >= self.channels_per_client {
            return self.tell(index, Told::Error("too_many_channels".into(), id));
        }
        match self.members[index].seats.get(channel) {
            None => self.sit(index, channel, presence),
            Some(before) if *before == presence => {}
            Some(_) => {
                self.rise(index, channel);
                self.sit(index, channel, presence);
            }
        }
        let offset = self.offsets.get(channel).copied().unwrap_or(0);
        self.tell(index, Told::Joined { channel: channel.to_owned(), offset, id });
    }

    pub(super) fn leave(&mut self, index: usize, channel: &'static str, id: Option<u64>) {
        if self.members[index].seats.contains_key(channel) {
            self.rise(index, channel);
            self.tell(index, Told::Left { channel: channel.to_owned(), id });
        } else {
            self.tell(index, Told::Error("not_joined".into(), id));
        }
    }

    pub(super) fn who(&mut self, index: usize, channel: &'static str, id: Option<u64>) {
        let here: Vec<&Member> = self
            .open()
            .map(|(_, member)| member)
            .filter(|m| m.seats.contains_key(channel))
            .collect();
        let users: BTreeSet<String> = here.iter().filter_map(|member| member.user()).collect();
        let told = Told::Who {
            channel: channel.to_owned(),
            clients: here.len() as u64,
            users: users.into_iter().collect(),
            id,
        };
        self.tell(index, told);
    }

    pub(super) fn direct(&mut self, index: usize, user: &str, id: Option<u64>) {
        let message = Told::Message {
            channel: String::new(),
            offset: 0,
            from: self.members[index].id.clone(),
            user: self.members[index].user(),
            body: "psst".into(),
            direct: true,
        };
        let mut clients = 0;
        for member in &mut self.members {
            if member.open && member.wish.user == Some(user) {
                clients += 1;
                member.hear(&message);
            }
        }
        if clients == 0 {
            self.tell(index, Told::Error("unknown_user".into(), id));
        } else if id.is_some() {
            let channel = String::new();
            self.tell(index, Told::Ack { channel, offset: None, clients: Some(clients), id });
        }
    }
}

impl Member {
    fn hear(&mut self, message: &Told) {
        match message {
            Told::Message { body, .. } if !self.wish.json => {
                self.told.push(Told::Text(body.clone()));
            }
            _ => self.told.push(message.clone()),
        }
    }
}
