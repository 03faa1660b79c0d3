//! Revoked tokens: for each user a moment before which its tokens count no longer, and single
//! tokens by their ids. Bounded: beyond the bound the oldest entry is forgotten, and counted.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::proof::Proof;

/// The most users, and the most tokens, that are remembered.
pub const REVOKED_MAX: usize = 100_000;

/// The tokens that a revocation is about. Times are in Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revocation {
    /// Those of a user that were issued before a moment, or that do not say when.
    User {
        /// The user.
        user: Arc<str>,
        /// The moment.
        before_s: u64,
    },
    /// One token.
    Token {
        /// Its id.
        id: Arc<str>,
        /// The time of the revocation, by which the oldest is found.
        at_s: u64,
    },
}

impl Revocation {
    /// Returns `true` if a client that proved this is refused.
    pub(crate) fn is_about(&self, proof: &Proof) -> bool {
        match self {
            Self::User { user, before_s } => {
                proof.user.as_ref() == Some(user) && proof.issued.is_none_or(|at| at < *before_s)
            }
            Self::Token { id, .. } => proof.id.as_ref() == Some(id),
        }
    }
}

/// Names with a moment each, of which the oldest can be found.
#[derive(Debug, Default)]
struct Moments {
    by_name: HashMap<Arc<str>, u64, foldhash::fast::RandomState>,
    by_time: BTreeSet<(u64, Arc<str>)>,
}

impl Moments {
    /// Keeps the later of two moments of a name. Returns `true` if another name was forgotten.
    fn put(&mut self, name: &Arc<str>, moment: u64, room: usize) -> bool {
        if let Some(&before) = self.by_name.get(name) {
            if before >= moment {
                return false;
            }
            self.by_time.remove(&(before, Arc::clone(name)));
        }
        self.by_name.insert(Arc::clone(name), moment);
        self.by_time.insert((moment, Arc::clone(name)));
        if self.by_name.len() <= room {
            return false;
        }
        if let Some((_, oldest)) = self.by_time.pop_first() {
            self.by_name.remove(&oldest);
        }
        true
    }
}

/// The revocations that a shard knows. All shards know the same ones.
#[derive(Debug)]
pub(crate) struct Revoked {
    users: Moments,
    tokens: Moments,
    room: usize,
    forgotten: u64,
}

impl Default for Revoked {
    fn default() -> Self {
        Self::with_room_for(REVOKED_MAX)
    }
}

impl Revoked {
    fn with_room_for(room: usize) -> Self {
        Self { users: Moments::default(), tokens: Moments::default(), room, forgotten: 0 }
    }

    pub(crate) fn add(&mut self, revocation: &Revocation) {
        let forgot = match revocation {
            Revocation::User { user, before_s } => self.users.put(user, *before_s, self.room),
            Revocation::Token { id, at_s } => self.tokens.put(id, *at_s, self.room),
        };
        self.forgotten += u64::from(forgot);
    }

    /// Returns `true` if the token that proved this was revoked.
    pub(crate) fn is_revoked(&self, proof: &Proof) -> bool {
        let user = proof.user.as_ref().and_then(|user| self.users.by_name.get(user));
        let of_user = user.is_some_and(|before| proof.issued.is_none_or(|at| at < *before));
        of_user || proof.id.as_ref().is_some_and(|id| self.tokens.by_name.contains_key(id))
    }

    /// Returns some entries behind one of them, or the first ones; users come before tokens.
    pub(crate) fn page(&self, behind: Option<&Revocation>, limit: usize) -> Vec<Revocation> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = |behind: Option<(u64, &Arc<str>)>| {
            behind.map_or(Unbounded, |(moment, name)| Excluded((moment, Arc::clone(name))))
        };
        let (users, tokens) = match behind {
            None => (Some(Unbounded), Unbounded),
            Some(Revocation::User { user, before_s }) => {
                (Some(from(Some((*before_s, user)))), Unbounded)
            }
            Some(Revocation::Token { id, at_s }) => (None, from(Some((*at_s, id)))),
        };
        let users = users.into_iter().flat_map(|from| self.users.by_time.range((from, Unbounded)));
        let users = users
            .map(|(before_s, user)| Revocation::User { user: user.clone(), before_s: *before_s });
        let tokens = self.tokens.by_time.range((tokens, Unbounded));
        let tokens = tokens.map(|(at_s, id)| Revocation::Token { id: id.clone(), at_s: *at_s });
        users.chain(tokens).take(limit).collect()
    }

    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.users.by_name.len() + self.tokens.by_name.len()
    }

    /// Returns the number of entries that were forgotten to make room for newer ones.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(user: &str, issued: Option<u64>, id: Option<&str>) -> Proof {
        let id = id.map(Into::into);
        Proof { user: Some(user.into()), issued, id, ..Proof::default() }
    }

    fn user(name: &str, before_s: u64) -> Revocation {
        Revocation::User { user: name.into(), before_s }
    }

    #[test]
    fn tokens_before_the_moment_are_revoked_and_later_ones_are_not() {
        let mut revoked = Revoked::default();
        revoked.add(&user("ana", 100));
        // An earlier moment takes nothing back.
        revoked.add(&user("ana", 50));
        assert!(revoked.is_revoked(&proof("ana", Some(99), None)));
        assert!(revoked.is_revoked(&proof("ana", None, None)), "it does not say when");
        assert!(!revoked.is_revoked(&proof("ana", Some(100), None)));
        assert!(!revoked.is_revoked(&proof("bob", Some(1), None)));
        revoked.add(&Revocation::Token { id: "t1".into(), at_s: 7 });
        assert!(revoked.is_revoked(&proof("bob", Some(500), Some("t1"))));
        assert!(!revoked.is_revoked(&proof("bob", Some(500), Some("t2"))));
        assert_eq!((revoked.len(), revoked.forgotten()), (2, 0));
    }

    #[test]
    fn pages_have_every_entry_once() {
        let mut revoked = Revoked::default();
        for number in 0..7_u64 {
            revoked.add(&user(&format!("u{number}"), number / 2));
            revoked.add(&Revocation::Token { id: format!("t{number}").into(), at_s: 7 - number });
        }
        for limit in [1, 2, 3, 14, 20] {
            let (mut all, mut behind) = (Vec::new(), None);
            loop {
                let page = revoked.page(behind.as_ref(), limit);
                assert!(page.len() <= limit);
                let Some(last) = page.last() else { break };
                behind = Some(last.clone());
                all.extend(page);
            }
            assert_eq!(all.len(), 14, "{limit}");
            let mut copy = Revoked::default();
            for one in &all {
                copy.add(one);
            }
            assert_eq!(copy.len(), 14);
        }
    }

    #[test]
    fn beyond_the_bound_the_oldest_moment_is_forgotten() {
        let mut revoked = Revoked::with_room_for(2);
        for (name, before_s) in [("ana", 10), ("bob", 5), ("ana", 20), ("cid", 15)] {
            revoked.add(&user(name, before_s));
        }
        assert_eq!((revoked.len(), revoked.forgotten()), (2, 1));
        assert!(!revoked.is_revoked(&proof("bob", Some(1), None)), "the oldest");
        assert!(revoked.is_revoked(&proof("ana", Some(19), None)));
        assert!(revoked.is_revoked(&proof("cid", Some(14), None)));
        assert_eq!(revoked.users.by_time.len(), 2);
    }
}
