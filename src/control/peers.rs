//! The other processes of a take-over, as the control plane knows them: a call that one process is
//! asked for is performed in all of them, or in the one that decides for all.
//!
//! The words between two control planes travel over the link of the two processes
//! (`takeover/link.rs`). A process that goes answers no more, and nobody waits for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::{Mutex, RwLock, RwLockReadGuard, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::State;
use super::api;
use super::word::{Answer, Fault, KnownKey, Word};

/// The most words that wait for the link.
const WORDS_MAX: usize = 1024;

/// The most calls of other processes that are performed at once.
const CALLS_MAX: usize = 64;

/// The longest wait for another process's answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest wait for the calls that are under way when a take-over begins.
const QUIET_TIMEOUT: Duration = Duration::from_secs(1);

/// A word, and the process that it came from.
type Heard = (Word, Peer);

/// Another process.
#[derive(Debug, Clone)]
struct Peer {
    id: u64,
    /// It numbers the publications of this process.
    leads: bool,
    words: mpsc::Sender<Word>,
    waiting: Arc<Mutex<Waiting>>,
}

/// The answers that are waited for, by the numbers of their calls.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    answers: HashMap<u64, oneshot::Sender<Answer>>,
}

/// The other processes of a take-over. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Peers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Nothing is awaited under this lock.
    list: Mutex<Vec<Peer>>,
    /// Held for reading while a call is performed, and for writing when a process is added: so
    /// each call comes before that or is told to the process.
    calm: RwLock<()>,
    heard: mpsc::Sender<Heard>,
    /// The words of other processes, until the control plane begins to listen.
    inbox: Mutex<Option<mpsc::Receiver<Heard>>>,
    joined: AtomicU64,
    unanswered: AtomicU64,
}

/// The end of the link's thread: words to the other process, and what it says.
#[derive(Debug)]
pub(crate) struct PeerEnd {
    peer: Peer,
    peers: Peers,
    pub(crate) words: mpsc::Receiver<Word>,
    /// Where to put what it says.
    pub(crate) ear: Ear,
}

/// Where the link's thread puts what the other process says.
#[derive(Debug, Clone)]
pub(crate) struct Ear {
    peer: Peer,
    heard: mpsc::Sender<Heard>,
}

/// A call on its way.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    answer: Option<oneshot::Receiver<Answer>>,
    unanswered: &'a AtomicU64,
}

impl Peers {
    pub(super) fn new() -> Self {
        let (heard, inbox) = mpsc::channel(WORDS_MAX);
        Self(Arc::new(Shared {
            list: Mutex::default(),
            calm: RwLock::default(),
            heard,
            inbox: Mutex::new(Some(inbox)),
            joined: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
        }))
    }

    /// Adds a process, which `leads` or is led by this one. Calls are told to it from now on; those
    /// that are under way have been performed before, unless they take very long. Not to be called
    /// on the control plane's own thread.
    pub(crate) fn join(&self, leads: bool) -> PeerEnd {
        let (sender, words) = mpsc::channel(WORDS_MAX);
        // Relaxed: the numbers tell processes apart, and order nothing.
        let id = self.0.joined.fetch_add(1, Ordering::Relaxed);
        let peer = Peer { id, leads, words: sender, waiting: Arc::default() };
        let added = peer.clone();
        let add = async {
            let calm = timeout(QUIET_TIMEOUT, self.0.calm.write()).await;
            self.0.list.lock().await.push(added);
            calm.is_ok()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        match runtime {
            Ok(runtime) if runtime.block_on(add) => {}
            Ok(_) => tracing::warn!("calls of the API are under way while a take-over begins"),
            Err(_) => self.0.list.blocking_lock().push(peer.clone()),
        }
        let ear = Ear { peer: peer.clone(), heard: self.0.heard.clone() };
        PeerEnd { peer, peers: self.clone(), words, ear }
    }

    /// Keeps processes from being added while a call is performed.
    pub(super) async fn calm(&self) -> RwLockReadGuard<'_, ()> {
        self.0.calm.read().await
    }

    /// Has a call performed in all other processes, but for the one that it comes from.
    pub(super) async fn ask_others(
        &self,
        (method, params): (&str, &[u8]),
        from: Option<u64>,
    ) -> Vec<Asked<'_>> {
        let list = self.0.list.lock().await.clone();
        let others = list.iter().filter(|peer| Some(peer.id) != from);
        let mut asked = Vec::new();
        for peer in others {
            asked.push(self.ask(peer, method, params).await);
        }
        asked
    }

    /// Has a call performed in the process that decides for this one, if there is one.
    pub(super) async fn ask_leader(&self, method: &str, params: &[u8]) -> Option<Asked<'_>> {
        let leader = self.0.list.lock().await.iter().find(|peer| peer.leads).cloned()?;
        Some(self.ask(&leader, method, params).await)
    }

    async fn ask(&self, peer: &Peer, method: &str, params: &[u8]) -> Asked<'_> {
        let unanswered = &self.0.unanswered;
        // An empty body stands for no parameters.
        let text = std::str::from_utf8(params).map(str::trim).unwrap_or_default();
        let text = if text.is_empty() { "{}" } else { text };
        // One that is no JSON is refused here as well.
        let Ok(params) = RawValue::from_string(text.to_owned()) else {
            return Asked { answer: None, unanswered };
        };
        let (sender, answer) = oneshot::channel();
        let mut waiting = peer.waiting.lock().await;
        let number = waiting.next;
        waiting.next += 1;
        let word = Word::Call { number, method: method.to_owned(), params };
        match peer.words.try_send(word) {
            Ok(()) => drop(waiting.answers.insert(number, sender)),
            // The process has much to do, and the asker should try again.
            Err(mpsc::error::TrySendError::Full(_)) => drop(sender.send(Err(Fault::Busy))),
            Err(mpsc::error::TrySendError::Closed(_)) => {}
        }
        Asked { answer: Some(answer), unanswered }
    }

    /// Tells the other processes that a publication was made under a key.
    pub(super) async fn tell_key(&self, key: &KnownKey) {
        for peer in &*self.0.list.lock().await {
            // A process that cannot take it decides no key by itself while it is linked.
            let _ = peer.words.try_send(Word::Key(key.clone()));
        }
    }

    /// Returns the number of calls that another process did not answer.
    pub(super) fn unanswered(&self) -> u64 {
        self.0.unanswered.load(Ordering::Relaxed)
    }
}

impl Asked<'_> {
    /// Waits for the answer; `None`: the process has gone, or is given up.
    pub(super) async fn answer(self) -> Option<Answer> {
        let answer = match timeout(ANSWER_TIMEOUT, self.answer?).await {
            Ok(answer) => answer.ok(),
            Err(_) => Some(Err(Fault::Busy)),
        };
        let failed = matches!(answer, None | Some(Err(Fault::Busy)));
        self.unanswered.fetch_add(u64::from(failed), Ordering::Relaxed);
        answer
    }
}

impl Ear {
    /// Takes what the other process says. A call for which there is no room is refused: the link
    /// has publications to carry, and does not wait.
    pub(crate) async fn hear(&self, word: Word) {
        if let Word::Answer { number, answer } = word {
            if let Some(asker) = self.peer.waiting.lock().await.answers.remove(&number) {
                // An asker that has given up is no error.
                let _ = asker.send(answer);
            }
            return;
        }
        let refused = self.heard.try_send((word, self.peer.clone()));
        if let Err(mpsc::error::TrySendError::Full((Word::Call { number, .. }, peer))) = refused {
            // Its asker waits for some seconds only.
            let _ = peer.words.try_send(Word::Answer { number, answer: Err(Fault::Busy) });
        }
    }
}

impl Drop for PeerEnd {
    fn drop(&mut self) {
        // The link's threads are no tasks of a runtime by then.
        self.peers.0.list.blocking_lock().retain(|peer| peer.id != self.peer.id);
        self.words.close();
        self.peer.waiting.blocking_lock().answers.clear();
    }
}

/// Performs what other processes ask for.
pub(super) async fn serve(state: State) {
    let Some(mut inbox) = state.settings.peers.0.inbox.lock().await.take() else { return };
    let room = Arc::new(Semaphore::new(CALLS_MAX));
    while let Some((word, peer)) = inbox.recv().await {
        match word {
            Word::Answer { .. } => {}
            Word::Key(key) => state.settings.once.learn(key).await,
            Word::Call { number, method, params } => {
                let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
                let state = state.clone();
                tokio::spawn(async move {
                    let answer = api::call_of_peer(&state, &method, &params, peer.id).await;
                    // A link that is over needs none.
                    let _ = peer.words.send(Word::Answer { number, answer }).await;
                    drop(place);
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test)
    }

    fn number_of(word: Option<Word>) -> u64 {
        let Some(Word::Call { number, .. }) = word else { panic!("{word:?}") };
        number
    }

    #[test]
    fn a_call_is_told_to_all_processes_but_its_own_and_answered_by_each() {
        let peers = Peers::new();
        let (mut leader, mut follower) = (peers.join(true), peers.join(false));
        run(async {
            let asked = peers.ask_others(("revoke", b"{\"user\":\"ana\"}"), None).await;
            assert_eq!(asked.len(), 2);
            for (end, clients) in [(&mut leader, "1"), (&mut follower, "2")] {
                let number = number_of(end.words.recv().await);
                let answer = Ok(RawValue::from_string(clients.into()).unwrap());
                end.ear.hear(Word::Answer { number, answer }).await;
            }
            let mut sum = 0;
            for one in asked {
                sum += one.answer().await.unwrap().unwrap().get().parse::<u64>().unwrap();
            }
            assert_eq!(sum, 3);
            let from = Some(leader.peer.id);
            assert_eq!(peers.ask_others(("revoke", b""), from).await.len(), 1);
            assert!(leader.words.try_recv().is_err() && follower.words.try_recv().is_ok());
            assert!(peers.ask_leader("publish", b"{").await.unwrap().answer().await.is_none());
            assert_eq!(peers.unanswered(), 0, "no JSON is no call");
        });
    }

    #[test]
    fn a_process_that_goes_keeps_no_asker_waiting() {
        let peers = Peers::new();
        let end = peers.join(true);
        let asked = run(peers.ask_leader("revoke", b"")).unwrap();
        drop(end);
        assert!(run(asked.answer()).is_none());
        assert!(run(peers.ask_leader("revoke", b"")).is_none());
        assert_eq!(peers.unanswered(), 1);
    }

    #[test]
    fn a_process_that_takes_nothing_is_told_no_more_than_there_is_room_for() {
        let peers = Peers::new();
        let _end = peers.join(true);
        run(async {
            for _ in 0..WORDS_MAX {
                assert!(peers.ask_leader("revoke", b"").await.is_some());
            }
            let answer = peers.ask_leader("revoke", b"").await.unwrap().answer().await;
            assert!(matches!(answer, Some(Err(Fault::Busy))), "{answer:?}");
        });
    }

    #[test]
    fn more_calls_of_another_process_than_there_is_room_for_are_refused() {
        let peers = Peers::new();
        let mut end = peers.join(true);
        run(async {
            for number in 0..=WORDS_MAX as u64 {
                let params = RawValue::from_string("{}".into()).unwrap();
                end.ear.hear(Word::Call { number, method: "info".into(), params }).await;
            }
            let word = end.words.recv().await;
            let Some(Word::Answer { number, answer }) = word else { panic!("{word:?}") };
            assert_eq!((number, answer.unwrap_err()), (WORDS_MAX as u64, Fault::Busy));
        });
    }

    #[test]
    fn a_process_joins_behind_the_calls_under_way() {
        let peers = Peers::new();
        let calm = run(peers.calm());
        let joins = std::thread::spawn({
            let peers = peers.clone();
            move || peers.join(true)
        });
        assert!(run(peers.ask_leader("revoke", b"")).is_none(), "not yet");
        drop(calm);
        let _end = joins.join().unwrap();
        assert!(run(peers.ask_leader("revoke", b"")).is_some());
    }
}
