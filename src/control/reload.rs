//! Reload: the settings are read again, for SIGHUP or for the API. The rules of channels and the
//! files of keys that they name are put in force; all else is read at start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stentor_shards::{App, ChannelFilter, Rules};
use tokio::sync::{mpsc, oneshot};

use super::State;
use super::apps::PRESENCE;
use super::ask::ask;
use crate::config::tokens::Tokens;
use crate::config::{self, Layered};
use crate::events::webhooks;
use crate::exit::harmless_line;
use crate::hooks;

/// The most requests that wait; one that finds no room would read what those before it read.
const REQUESTS_MAX: usize = 16;

/// The most channels that a warning counts on each shard.
const WARNED_MAX: usize = 1000;

/// The way in which this process came by its settings, to be gone once more.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) file: Option<PathBuf>,
    pub(crate) flags: BTreeMap<&'static str, String>,
    /// The settings as they were read at start.
    pub(crate) settings: config::Settings,
}

/// The outcome of a reload: the number of namespaces in force, or why the old rules still are.
pub(crate) type Outcome = Result<usize, String>;

/// A request to reload, and who hears of its outcome.
type Request = Option<oneshot::Sender<Outcome>>;

/// Where to ask for a reload, and the counts of those that were.
#[derive(Debug, Clone)]
pub(crate) struct Reloads {
    requests: mpsc::Sender<Request>,
    counts: Arc<Counts>,
}

/// Counters. Relaxed: they order nothing.
#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    failed: AtomicU64,
}

impl Reloads {
    /// The requests come out of the receiver.
    pub(super) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        (Self { requests, counts: Arc::default() }, receiver)
    }

    /// Asks for a reload, from any thread. Its outcome is logged.
    pub(crate) fn ask(&self) {
        // A full queue holds one that has not begun, and reads all that is there now.
        let _ = self.requests.try_send(None);
    }

    /// Asks for a reload and waits for its outcome; `None`: too many wait already.
    pub(super) async fn outcome(&self) -> Option<Outcome> {
        let (sender, outcome) = oneshot::channel();
        self.requests.try_send(Some(sender)).ok()?;
        outcome.await.ok()
    }

    /// Returns the numbers of reloads that were done, and that failed.
    pub(super) fn counts(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.counts.done), count(&self.counts.failed))
    }

    fn count(&self, outcome: &Outcome) {
        let counter = if outcome.is_ok() { &self.counts.done } else { &self.counts.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Does the reloads that are asked for, one after the other.
pub(super) async fn serve(
    mut requests: mpsc::Receiver<Request>,
    reloads: Reloads,
    origin: Origin,
    state: State,
) {
    let origin = Arc::new(origin);
    while let Some(request) = requests.recv().await {
        let outcome = reload(&origin, &state).await;
        reloads.count(&outcome);
        match &outcome {
            Ok(namespaces) => {
                tracing::info!(namespaces, "rules of channels and files of keys were read again");
            }
            Err(why) => tracing::error!("reload failed: {why}"),
        }
        if let Some(asker) = request {
            let _ = asker.send(outcome);
        }
    }
}

/// Certificates on the one hand, rules and keys on the other are read and put in force each for
/// itself: a broken certificate must not keep a key in force that is to be revoked, and a broken
/// rule no certificate that is about to expire.
async fn reload(origin: &Arc<Origin>, state: &State) -> Outcome {
    let rules = reload_rules(origin, state).await;
    let certificates = state.settings.certificates.reload(&state.shards).await;
    let rules = rules.map_err(|why| format!("rules and keys stay as they were: {why}"));
    let certificates = certificates
        .map_err(|why| format!("certificates stay as they were: {}", harmless_line(&why)));
    match (rules, certificates) {
        (rules, Ok(())) => rules,
        (Ok(_), Err(why)) => Err(format!("{why} (rules and keys are in force)")),
        (Err(first), Err(second)) => Err(format!("{first}; {second}")),
    }
}

async fn reload_rules(origin: &Arc<Origin>, state: &State) -> Outcome {
    let read = {
        let origin = Arc::clone(origin);
        // Reading a file may take its time, and so may looking up a name in it.
        tokio::task::spawn_blocking(move || origin.read_again())
    };
    let Again { rules, settings, tokens, api_keys: [api_key, api_read_key], hooks, warnings } =
        read.await.map_err(|_| "the reading failed".to_owned())??;
    let rules = Arc::new(rules.continuing(&state.settings.rules.borrow()));
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let namespaces = rules.namespaces().len();
    // All that can be wrong with keys is found before anything is in force.
    state.settings.keyring.replace(tokens, &state.shards).await?;
    for (kept, key) in
        [(&state.settings.api_key, api_key), (&state.settings.api_read_key, api_read_key)]
    {
        kept.send_if_modified(|current| std::mem::replace(current, key.clone()) != key);
    }
    state.settings.hooks.send_if_modified(|current| {
        let is_other = *current != hooks;
        *current = hooks;
        is_other
    });
    let answers = ask(|| state.shards.set_rules(&rules)).await;
    // Also if a shard was busy: others have the new rules, and secrets and webhooks go with them.
    let told = webhooks::Settings::of(&settings, Arc::clone(&rules));
    state.settings.webhooks.send_replace(told);
    let before = state.settings.rules.send_replace(Arc::clone(&rules));
    warn_of_members(state, &before, &rules).await;
    match answers {
        Ok(_) => Ok(namespaces),
        Err(_) => Err("a shard was busy: it may have the old rules, ask again".to_owned()),
    }
}

/// Warns of presence channels in use whose namespace an app has got. Their home does not know who
/// is there: it takes clients of the app in once all others have left.
async fn warn_of_members(state: &State, before: &Rules, rules: &Rules) {
    let known = before.apps();
    let is_new = |app: &App| known.iter().all(|one| one.namespace != app.namespace);
    for app in rules.apps().into_iter().filter(|app| is_new(app)) {
        let filter = ChannelFilter::Prefix(app.channel(PRESENCE).into());
        let Ok(listed) = ask(|| state.shards.channels(&filter, WARNED_MAX)).await else { continue };
        let in_use = listed.iter().flatten().filter(|info| info.clients > 0).count();
        if in_use > 0 {
            tracing::warn!(
                app_id = &*app.id,
                in_use,
                "presence channels of this app take its clients in once those that are there \
                 have left"
            );
        }
    }
}

/// All that a reload puts in force.
struct Again {
    rules: Arc<Rules>,
    /// All settings as they are read; of these, the webhooks of apps are put in force.
    settings: config::Settings,
    tokens: Tokens,
    /// The key of the API, and the one that only reads.
    api_keys: [Option<String>; 2],
    hooks: hooks::Settings,
    /// The report about the rest.
    warnings: Vec<String>,
}

impl Origin {
    /// Reads all settings again, and the files of keys that were named at start.
    fn read_again(&self) -> Result<Again, String> {
        let layered = Layered::load(self.file.as_deref(), std::env::vars_os(), &self.flags)
            .map_err(|invalid| harmless_line(&invalid.to_string()))?;
        let rules = Arc::clone(&layered.settings.shards.rules);
        let own = &self.settings.shards.default_channel;
        if rules.of(own).is_none() {
            return Err(format!(
                "the namespace of {own:?}, the default channel of this process, is missing"
            ));
        }
        let personal = &self.settings.shards.personal_channel;
        if !personal.is_empty() && !rules.is_of_one_user(&format!("{personal}x"), "x") {
            return Err(format!(
                "users have channels that begin with {personal:?} in this process: the namespace \
                 or the user-boundary of these is missing"
            ));
        }
        let mut warnings = layered.warnings;
        let changed = config::all_keys()
            .filter(|key| !config::channels::is_reloaded(key))
            .filter(|key| (key.get)(&layered.settings) != (key.get)(&self.settings))
            .map(|key| key.name)
            .collect::<Vec<_>>()
            .join(", ");
        if !changed.is_empty() {
            warnings.push(format!("read at start only, and not changed by a reload: {changed}"));
        }
        let tokens = self.settings.tokens.read_again().map_err(|why| harmless_line(&why))?;
        let harmless = |why: String| harmless_line(&why);
        let api_key = self.settings.read_api_key().map_err(harmless)?;
        let api_read_key = self.settings.read_api_read_key().map_err(harmless)?;
        let hooks = hooks::Settings::of(&layered.settings);
        let settings = layered.settings;
        let has_webhooks = rules.apps().iter().any(|app| app.news.any());
        let begun = &self.settings.shards;
        if has_webhooks && begun.rules.apps().is_empty() && !begun.news.any() {
            let why = "webhooks are told from the next start on: there was no app at the last one";
            warnings.push(why.into());
        }
        let api_keys = [api_key, api_read_key];
        Ok(Again { rules, settings, tokens, api_keys, hooks, warnings })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn origin(file: PathBuf) -> Origin {
        let flags = BTreeMap::from([("log-level", "warn".to_owned())]);
        let settings = Layered::load(Some(&file), std::iter::empty(), &flags).unwrap().settings;
        Origin { file: Some(file), flags, settings }
    }

    #[test]
    fn a_file_is_read_again_with_the_same_flags() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stentor.toml");
        fs::write(&file, "listen = '127.0.0.1:9001'\nhistory = 5\n").unwrap();
        let origin = origin(file.clone());
        let Again { rules, warnings, .. } = origin.read_again().unwrap();
        assert_eq!((rules.default_rules().history.size, warnings.len()), (5, 0));

        fs::write(&file, "shards = 2\nhistory = 6\n[[namespace]]\nname = 'chat'\n").unwrap();
        let Again { rules, warnings, .. } = origin.read_again().unwrap();
        assert_eq!((rules.default_rules().history.size, rules.namespaces().len()), (6, 1));
        assert_eq!(warnings, ["read at start only, and not changed by a reload: shards"]);
    }

    #[test]
    fn a_broken_file_is_an_error_in_one_line_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stentor.toml");
        fs::write(&file, "default_channel = 'chat:a'\n[[namespace]]\nname = 'chat'\n").unwrap();
        let origin = origin(file.clone());
        for (text, part) in [
            ("[channels]\nsubscribe = 'all'\n", "stentor.toml:2:13: channels: subscribe:"),
            ("[[namespace]]\nname = 'news'\n", "the namespace of \"chat:a\", the default channel"),
            ("= 5", "stentor.toml:1:1: "),
        ] {
            fs::write(&file, text).unwrap();
            let why = origin.read_again().err().unwrap();
            assert!(why.contains(part) && !why.contains('\n'), "{why}");
        }
        fs::remove_file(&file).unwrap();
        assert!(origin.read_again().err().unwrap().contains("No such file"));
    }

    #[test]
    fn rules_under_which_users_cannot_have_their_own_channels_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stentor.toml");
        fs::write(&file, "personal_channel = 'news:#'\n[[namespace]]\nname = 'news'\n").unwrap();
        let origin = origin(file.clone());
        assert!(origin.read_again().is_ok());
        for text in [
            "[[namespace]]\nname = 'chat'\n",
            "[channels]\nuser_boundary = '@'\n[[namespace]]\nname = 'news'\n",
        ] {
            fs::write(&file, text).unwrap();
            let why = origin.read_again().err().unwrap();
            assert!(why.contains("users have channels that begin with \"news:#\""), "{why}");
        }
    }
}
