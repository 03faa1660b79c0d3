//! Asking the shards: with patience where a lane is full, and with a bound on how long an answer
//! may take.

use std::time::Duration;

use stentor_shards::{Answers, NoChannel, Untaken};

/// The longest wait for room in a full lane.
const ROOM_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest time that the shards may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The shards have more to do than they can take, or do not answer in time.
    Busy,
    BadName,
    TooLarge,
    /// There is no room for another channel.
    NoRoom,
    /// No rules know channels of its namespace.
    UnknownNamespace,
    /// The engine that orders publications cannot be reached.
    Unavailable,
}

impl From<NoChannel> for Unanswered {
    fn from(why: NoChannel) -> Self {
        match why {
            NoChannel::NoRoom => Self::NoRoom,
            NoChannel::UnknownNamespace => Self::UnknownNamespace,
            NoChannel::Unavailable => Self::Unavailable,
        }
    }
}

/// Asks until there is room, then waits for the answers of all shards asked.
pub(crate) async fn ask<T: Unpin>(
    order: impl FnMut() -> Result<Answers<T>, Untaken>,
) -> Result<Vec<T>, Unanswered> {
    let answers = find_room(order).await?;
    tokio::time::timeout(ANSWER_TIMEOUT, answers).await.map_err(|_| Unanswered::Busy)
}

async fn find_room<T>(
    mut order: impl FnMut() -> Result<Answers<T>, Untaken>,
) -> Result<Answers<T>, Unanswered> {
    let room = tokio::time::Instant::now() + ROOM_TIMEOUT;
    loop {
        match order() {
            Ok(answers) => return Ok(answers),
            Err(Untaken::BadName) => return Err(Unanswered::BadName),
            Err(Untaken::TooLarge) => return Err(Unanswered::TooLarge),
            Err(Untaken::Busy) if tokio::time::Instant::now() >= room => {
                return Err(Unanswered::Busy);
            }
            Err(Untaken::Busy) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// The same where one shard answers.
pub(crate) async fn ask_one<T: Unpin>(
    order: impl FnMut() -> Result<Answers<T>, Untaken>,
) -> Result<T, Unanswered> {
    ask(order).await?.pop().ok_or(Unanswered::Busy)
}

/// The same, with no bound on the wait once the order is taken: an error means that nothing has
/// happened, so the order can be given again.
pub(crate) async fn ask_until_answered<T: Unpin>(
    order: impl FnMut() -> Result<Answers<T>, Untaken>,
) -> Result<T, Unanswered> {
    find_room(order).await?.await.pop().ok_or(Unanswered::Busy)
}
