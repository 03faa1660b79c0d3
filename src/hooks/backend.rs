//! The backend as the settings name it: its endpoints, each with its turn and its breaker.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{StatusCode, Uri};
use stentor_shards::{PassedHeaders, Question, Ruling, Subject};
use tokio::sync::Semaphore;
use tokio::time::{Instant as Moment, timeout_at};

use super::breaker::Breaker;
use super::counts::{AllCounts, Kind};
use super::post::Poster;
use super::{answer, question};
use crate::config::hooks::Hooks;

/// The shortest time between two lines of the log about the failures of one endpoint.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// One endpoint.
struct Endpoint {
    uri: Uri,
    turns: Semaphore,
    breaker: RefCell<Breaker>,
    logged: RefCell<Option<Instant>>,
}

/// All endpoints, and how they are asked.
pub(super) struct Backend {
    settings: Hooks,
    poster: Poster,
    /// By their URLs: kinds and namespaces that share one share its breaker.
    endpoints: HashMap<String, Rc<Endpoint>>,
}

/// The reason why a question has no answer.
enum Unanswered {
    NoEndpoint,
    HeldBack,
    Late,
    Failed(String),
}

impl Backend {
    /// The backend of these settings, with the endpoints that namespaces have of their own.
    pub(super) fn new(settings: Hooks, more: &[String]) -> Self {
        let usual = [
            &settings.connect,
            &settings.refresh,
            &settings.subscribe,
            &settings.sub_refresh,
            &settings.publish,
            &settings.rpc,
        ];
        let usual = usual.into_iter().flatten().cloned();
        let more = more.iter().filter_map(|text| text.parse().ok());
        let one = |uri: Uri| {
            let breaker = Breaker::new(settings.breaker_failures, settings.breaker_pause);
            let endpoint = Endpoint {
                turns: Semaphore::new(settings.concurrency),
                breaker: RefCell::new(breaker),
                logged: RefCell::new(None),
                uri,
            };
            (endpoint.uri.to_string(), Rc::new(endpoint))
        };
        let endpoints: HashMap<String, Rc<Endpoint>> = usual.chain(more).map(one).collect();
        let speaks_tls = endpoints.keys().any(|uri| uri.starts_with("https:"));
        let poster = Poster::new(settings.concurrency, speaks_tls);
        Self { settings, poster, endpoints }
    }

    /// Asks a question. Its time begins now.
    pub(super) async fn ask(&self, question: &Question, counts: &AllCounts) -> Ruling {
        let counts = counts.of(Kind::of(&question.subject));
        match self.answer(question, counts).await {
            Ok(ruling) => return ruling,
            Err(Unanswered::NoEndpoint) => {}
            Err(Unanswered::HeldBack) => counts.hold_back(),
            Err(Unanswered::Late) => counts.be_late(),
            Err(Unanswered::Failed(why)) => {
                if let Some(endpoint) = self.endpoint(&question.subject) {
                    let opens = endpoint.breaker.borrow_mut().fail(Instant::now());
                    counts.fail(opens);
                    endpoint.log(&why, opens);
                }
            }
        }
        Ruling::Unanswered
    }

    async fn answer(
        &self,
        question: &Question,
        counts: &super::counts::Counts,
    ) -> Result<Ruling, Unanswered> {
        let end = Moment::now() + self.settings.timeout;
        let endpoint = self.endpoint(&question.subject).ok_or(Unanswered::NoEndpoint)?;
        let turn = timeout_at(end, endpoint.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(Unanswered::Late) };
        // Behind the wait: whoever waited longest must not hammer an endpoint that has gone.
        if !endpoint.breaker.borrow_mut().lets_pass(Instant::now()) {
            return Err(Unanswered::HeldBack);
        }
        counts.ask();
        let begin = Instant::now();
        let body = question::write(question, self.settings.has_meta);
        let headers = self.headers(question.headers.as_ref());
        let posted = timeout_at(end, self.poster.post(&endpoint.uri, headers, body)).await;
        counts.take_time(begin.elapsed());
        let found = match posted {
            Ok(Ok((StatusCode::OK, body))) => body,
            Ok(Ok((status, _))) => {
                return Err(Unanswered::Failed(format!("the answer is {status}")));
            }
            Ok(Err(why)) => return Err(Unanswered::Failed(why)),
            Err(_) => return Err(Unanswered::Failed("no answer in time".into())),
        };
        let ruling = answer::read(&question.subject, &found).map_err(Unanswered::Failed)?;
        endpoint.breaker.borrow_mut().succeed();
        Ok(ruling)
    }

    fn endpoint(&self, subject: &Subject) -> Option<&Rc<Endpoint>> {
        let settings = &self.settings;
        let (own, usual) = match subject {
            Subject::Connect(_) => (None, &settings.connect),
            Subject::Refresh => (None, &settings.refresh),
            Subject::Subscribe { endpoint, .. } => (endpoint.as_ref(), &settings.subscribe),
            Subject::SubRefresh { endpoint, .. } => (endpoint.as_ref(), &settings.sub_refresh),
            Subject::Publish { endpoint, .. } => (endpoint.as_ref(), &settings.publish),
            Subject::Call { .. } => (None, &settings.rpc),
        };
        let uri = match own {
            // As it was shown when the table was made.
            Some(own) => own.parse::<Uri>().ok()?.to_string(),
            None => usual.as_ref()?.to_string(),
        };
        self.endpoints.get(&uri)
    }

    /// The headers of a question: those of the settings, and over them those of the client.
    fn headers(&self, passed: Option<&PassedHeaders>) -> HeaderMap {
        let mut headers: HeaderMap = self.settings.static_headers.iter().cloned().collect();
        let mut seen: Vec<HeaderName> = Vec::new();
        for (name, value) in passed.iter().flat_map(|passed| passed.iter()) {
            let name = HeaderName::try_from(&**name);
            let (Ok(name), Ok(mut value)) = (name, HeaderValue::try_from(&**value)) else {
                continue;
            };
            value.set_sensitive(true);
            if seen.contains(&name) {
                headers.append(name, value);
            } else {
                headers.insert(name.clone(), value);
                seen.push(name);
            }
        }
        headers
    }
}

impl Endpoint {
    fn log(&self, why: &str, opens: bool) {
        let (now, mut logged) = (Instant::now(), self.logged.borrow_mut());
        let is_new = logged.is_none_or(|last| now.duration_since(last) >= LOG_EVERY);
        if opens {
            tracing::error!(endpoint = %self.uri, why, "the backend fails: it is left alone");
        } else if is_new {
            tracing::warn!(endpoint = %self.uri, why, "the backend did not answer a question");
        }
        if opens || is_new {
            *logged = Some(now);
        }
    }
}
