//! The keys of tokens: the verifier that shards begin with, and the key set that is fetched and
//! refreshed while they run. The last good set stays in force whatever a fetch meets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hyper::Uri;
use stentor_auth::{AskForKeys, Key, Verifier, read_jwks};
use stentor_shards::proof::Prover;
use stentor_shards::{Handle, Untaken};
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::fetch::fetch;
use crate::config::tokens::{Jwks, Tokens, without_query};

/// The time between two fetches, if no client needs one before.
const REFRESH_EVERY: Duration = Duration::from_mins(5);

/// The shortest time between two fetches, whoever asks for one.
const FETCH_EVERY: Duration = Duration::from_secs(5);

/// The time after which a failed fetch is tried again, if no client needs one before.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// The longest time in which all shards must take other keys.
const PUT_TIMEOUT: Duration = Duration::from_secs(5);

/// The figures of fetches in `/metrics`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) fetches: u64,
    pub(crate) failures: u64,
}

/// The settings of tokens, and what shards and control thread tell each other about the key set.
#[derive(Debug, Clone)]
pub(crate) struct Keyring {
    held: Arc<Mutex<Held>>,
    news: Arc<News>,
}

/// The keys in force: those of the settings and their files, and those that were fetched.
#[derive(Debug)]
struct Held {
    tokens: Tokens,
    fetched: Vec<Key>,
}

#[derive(Debug)]
struct News {
    begun: Instant,
    /// A shard has met a key that it does not know.
    wanted: AtomicBool,
    bell: Notify,
    /// The set in force was fetched so long after `begun`, in milliseconds; zero before the first.
    fetched_ms: AtomicU64,
    fetches: AtomicU64,
    failures: AtomicU64,
}

impl Default for News {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            wanted: AtomicBool::default(),
            bell: Notify::default(),
            fetched_ms: AtomicU64::default(),
            fetches: AtomicU64::default(),
            failures: AtomicU64::default(),
        }
    }
}

impl News {
    /// The time since it began, of a clock that no step of the wall clock moves.
    fn age_ms(&self) -> u64 {
        ms(self.begun.elapsed())
    }

    fn note_fetched(&self) {
        self.fetched_ms.store(self.age_ms().max(1), Ordering::Relaxed);
    }

    /// Called by shards. Relaxed everywhere: these are hints, and order nothing.
    fn ask(&self) -> bool {
        let fetched = self.fetched_ms.load(Ordering::Relaxed);
        if fetched > 0 && self.age_ms().saturating_sub(fetched) < ms(FETCH_EVERY) {
            // The set is fresh, and this key is not in it.
            return false;
        }
        if !self.wanted.swap(true, Ordering::Relaxed) {
            self.bell.notify_one();
        }
        true
    }
}

impl Keyring {
    pub(crate) fn new(tokens: &Tokens) -> Self {
        let held = Held { tokens: tokens.clone(), fetched: Vec::new() };
        Self { held: Arc::new(Mutex::new(held)), news: Arc::default() }
    }

    /// The verifier before anything is fetched; `None` if nothing verifies tokens.
    ///
    /// # Errors
    /// A key cannot be read.
    pub(crate) fn prover(&self) -> Result<Option<Arc<dyn Prover>>, String> {
        let held = self.held.try_lock().expect("nothing else runs before the shards do");
        if !held.tokens.has_keys() {
            return Ok(None);
        }
        self.prover_of(&held).map(Some)
    }

    fn prover_of(&self, held: &Held) -> Result<Arc<dyn Prover>, String> {
        let mut keys = held.tokens.keys()?;
        keys.extend(held.fetched.iter().cloned());
        let news = Arc::clone(&self.news);
        let ask: AskForKeys = Arc::new(move || news.ask());
        let ask = matches!(held.tokens.jwks, Some(Jwks::Url(_))).then_some(ask);
        Ok(Arc::new(Verifier::new(keys, held.tokens.expected(), ask)?))
    }

    pub(crate) fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts { fetches: read(&self.news.fetches), failures: read(&self.news.failures) }
    }

    /// Fetches the key set, now and from time to time, for as long as it is polled.
    pub(crate) async fn keep(self, shards: Handle) {
        let Some(Jwks::Url(uri)) = self.held.lock().await.tokens.jwks.clone() else {
            return std::future::pending().await;
        };
        loop {
            let earliest = Instant::now() + FETCH_EVERY;
            self.news.fetches.fetch_add(1, Ordering::Relaxed);
            let pause = match self.renew(&uri, &shards).await {
                Ok(keys) => {
                    tracing::info!(keys, "token keys fetched");
                    REFRESH_EVERY
                }
                Err(why) => {
                    self.news.failures.fetch_add(1, Ordering::Relaxed);
                    let uri = without_query(&uri);
                    tracing::warn!(uri, why, "token keys not fetched: the last ones stay");
                    RETRY_AFTER
                }
            };
            self.news.wanted.store(false, Ordering::Relaxed);
            sleep_until(earliest).await;
            // Running out of time is as good a reason as a client's need.
            let _ = timeout(pause, self.news.bell.notified()).await;
        }
    }

    async fn renew(&self, uri: &Uri, shards: &Handle) -> Result<usize, String> {
        let set = fetch(uri).await?;
        let keys = read_jwks(&set, false)?;
        let count = keys.len();
        let mut held = self.held.lock().await;
        let newer = Held { tokens: held.tokens.clone(), fetched: keys };
        put_in_force(shards, &self.prover_of(&newer)?).await?;
        *held = newer;
        self.news.note_fetched();
        Ok(count)
    }

    /// Puts keys in force that were read again, with those that were fetched. A set behind a URL
    /// is fetched again as well, soon.
    ///
    /// # Errors
    /// A key cannot be read, or a shard does not take keys: the old ones stay.
    pub(super) async fn replace(&self, tokens: Tokens, shards: &Handle) -> Result<(), String> {
        if !tokens.has_keys() {
            return Ok(());
        }
        let mut held = self.held.lock().await;
        let newer = Held { tokens, fetched: held.fetched.clone() };
        put_in_force(shards, &self.prover_of(&newer)?).await?;
        *held = newer;
        self.news.bell.notify_one();
        Ok(())
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

async fn put_in_force(shards: &Handle, prover: &Arc<dyn Prover>) -> Result<(), String> {
    put_until(Instant::now() + PUT_TIMEOUT, || shards.set_prover(prover)).await
}

/// Tries until it succeeds, or that time has come.
async fn put_until(
    end: Instant,
    mut put: impl FnMut() -> Result<(), Untaken>,
) -> Result<(), String> {
    while let Err(Untaken::Busy) = put() {
        if Instant::now() >= end {
            return Err("a shard takes no keys".into());
        }
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_asked_for_again_once_the_set_is_some_seconds_old() {
        let after = |time: Duration| News {
            begun: Instant::now().checked_sub(time).unwrap(),
            ..News::default()
        };
        assert!(after(Duration::ZERO).ask(), "nothing was fetched yet");
        let news = after(Duration::from_secs(100));
        news.note_fetched();
        assert!(!news.ask() && !news.wanted.load(Ordering::Relaxed), "the set is fresh");
        let news = after(FETCH_EVERY + Duration::from_millis(1));
        news.fetched_ms.store(1, Ordering::Relaxed);
        assert!(news.ask() && news.wanted.load(Ordering::Relaxed));
    }

    #[test]
    fn keys_wait_for_a_shard_that_hangs_for_some_time_only() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let put = |tries: u32| {
            let mut left = tries;
            let end = Instant::now() + Duration::from_millis(50);
            runtime.block_on(put_until(end, move || {
                left = left.saturating_sub(1);
                if left == 0 { Ok(()) } else { Err(Untaken::Busy) }
            }))
        };
        assert_eq!(put(1), Ok(()));
        assert_eq!(put(3), Ok(()));
        assert!(put(u32::MAX).unwrap_err().contains("takes no keys"));
    }
}
