//! Hooks: the thread that asks the application's backend what clients may do, over HTTP, and brings
//! its rulings to the shards. No shard waits for it.

mod answer;
mod backend;
mod breaker;
mod counts;
mod post;
mod question;

pub(crate) use counts::{AllCounts, Figures, Kind};
pub(crate) use post::Poster;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use stentor_shards::{Asker, Crossing, Handle, Inbox, Question, Ruling, Untaken};
use tokio::sync::{Semaphore, watch};
use tokio::task::LocalSet;
use tokio::time::sleep;

use self::backend::Backend;
use crate::config::Settings as Everything;
use crate::config::hooks::Hooks;

/// The most questions that are under way at once, at all endpoints together. Further ones wait on
/// the bridge, which is bounded as well.
const UNDER_WAY_MAX: usize = 4096;

/// The settings of hooks, and the endpoints that namespaces have of their own.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    hooks: Hooks,
    endpoints: Vec<String>,
}

impl Settings {
    pub(crate) fn of(settings: &Everything) -> Self {
        let own = settings.channels.hook_endpoints();
        let endpoints = own.filter_map(|text| Some(text.parse::<hyper::Uri>().ok()?.to_string()));
        Self { hooks: settings.hooks.clone(), endpoints: endpoints.collect() }
    }
}

/// Starts the thread; it ends with the shards.
///
/// # Errors
/// The thread cannot be started.
pub(crate) fn start(
    questions: Inbox,
    shards: Handle,
    settings: watch::Receiver<Settings>,
    counts: Arc<AllCounts>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("hooks".into()).spawn(move || {
        LocalSet::new().block_on(&runtime, serve(questions, shards, settings, counts));
    })?;
    Ok(())
}

async fn serve(
    mut questions: Inbox,
    shards: Handle,
    mut settings: watch::Receiver<Settings>,
    counts: Arc<AllCounts>,
) {
    let under_way = Arc::new(Semaphore::new(UNDER_WAY_MAX));
    let mut backend: Option<Rc<Backend>> = None;
    loop {
        let Ok(permit) = Arc::clone(&under_way).acquire_owned().await else { return };
        let Some(crossing) = questions.receive().await else { return };
        let Crossing::Question(question) = crossing else { continue };
        // Only with the first question: a server without hooks reads no certificates.
        if backend.is_none() || settings.has_changed().unwrap_or(false) {
            let Settings { hooks, endpoints } = settings.borrow_and_update().clone();
            backend = Some(Rc::new(Backend::new(hooks, &endpoints)));
        }
        let Some(backend) = backend.clone() else { return };
        let (shards, counts) = (shards.clone(), Arc::clone(&counts));
        tokio::task::spawn_local(async move {
            answer(&question, &backend, &counts, &shards).await;
            drop(permit);
        });
    }
}

async fn answer(question: &Question, backend: &Backend, counts: &AllCounts, shards: &Handle) {
    let own = counts.of(Kind::of(&question.subject));
    own.begin();
    let ruling = backend.ask(question, counts).await;
    deliver(question.asker(), &ruling, shards).await;
    own.end();
}

/// Brings a ruling to its shard. The shard is alive as long as the process: there will be room.
async fn deliver(to: Asker, ruling: &Ruling, shards: &Handle) {
    while let Err(Untaken::Busy) = shards.rule(to, ruling) {
        sleep(Duration::from_millis(1)).await;
    }
}
