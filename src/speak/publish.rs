//! `stentor pub`: every line is a publication that the server acknowledges, many at once. Refused
//! lines are reported.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::Message;
use rustix::event::{PollFd, PollFlags};
use serde::{Deserialize, Serialize};

use super::lines::{Line, Lines};
use super::link::{Link, query};
use super::{End, Publish, wait};

/// Publications that wait for their acknowledgement at once: few at first, and one more for each
/// that is acknowledged. So little is under way to a server that refuses from the beginning.
const WINDOW_FIRST: u64 = 32;
const WINDOW_MAX: u64 = 1024;

/// The longest time that the server may leave publications unanswered.
const ANSWER_MAX: Duration = Duration::from_mins(1);

/// The longest time that it may take to answer the close frame.
const GOODBYE_MAX: Duration = Duration::from_secs(5);

/// The most chunks of input that are still counted when the connection has ended.
const COUNTED_CHUNKS_MAX: usize = 1024;

/// One publication as it is sent.
#[derive(Serialize)]
struct Sent<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: u64,
    channel: &'a str,
    body: &'a str,
}

/// The fields that are read of an answer.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    message_bytes: Option<usize>,
}

/// The number of lines by outcome.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    taken: u64,
    refused: u64,
    /// Sent, and not answered yet.
    flying: u64,
    /// The first refusal.
    why: Option<String>,
}

struct Publisher {
    link: Link,
    channel: String,
    message_bytes: usize,
    tally: Tally,
    window: u64,
    heard: Instant,
}

/// Publishes the text, or each line of standard input where it is `-`.
///
/// # Errors
/// Why the server cannot be reached, or how many lines it did not take, and why.
pub(crate) fn publish(asked: &Publish) -> Result<(), String> {
    // Without a channel in the URL nothing is heard but answers.
    let names = query(None, asked.user.as_deref());
    let link = Link::open((&asked.url, &asked.trust), &names, &asked.token);
    let mut link = link.map_err(|unopened| unopened.why)?;
    let message_bytes = welcome(&mut link).map_err(|end| end.to_string())?;
    let mut publisher = Publisher {
        link,
        channel: asked.channel.clone(),
        message_bytes,
        tally: Tally::default(),
        window: WINDOW_FIRST,
        heard: Instant::now(),
    };
    let (mut lines, mut text) = (Lines::new(message_bytes), None);
    if asked.text != "-" {
        text = Some(Line::Text(asked.text.clone()));
    }
    let from_input = text.is_none();
    let mut next = move |lines: &mut Lines| if from_input { lines.next() } else { text.take() };
    let ended = publisher.run(&mut lines, &mut next, from_input)?;
    let mut tally = publisher.tally;
    if let Some(end) = ended {
        let whole = !from_input || count_rest(&mut lines, &mut next, &mut tally);
        let rest = if whole { "" } else { "; standard input was not read to its end" };
        return Err(format!("{}; {end}{rest}", tally.sentence()));
    }
    publisher.link.leave(GOODBYE_MAX);
    if tally.refused > 0 { Err(tally.sentence()) } else { Ok(()) }
}

/// Waits for the first message, and returns how large a message may be.
fn welcome(link: &mut Link) -> Result<usize, End> {
    let text = link.first_text()?;
    let answer: Option<Answer> = serde_json::from_str(&text).ok();
    let bytes = answer.filter(|answer| answer.kind == "welcome").and_then(|it| it.message_bytes);
    link.stop_waiting()?;
    bytes.ok_or_else(|| End::Lost("the server does not begin with a welcome of stentor.v1".into()))
}

/// Counts the lines that are here already and that nobody takes any more. Returns `true` if these
/// were all.
fn count_rest(
    lines: &mut Lines,
    next: &mut impl FnMut(&mut Lines) -> Option<Line>,
    tally: &mut Tally,
) -> bool {
    let input = io::stdin();
    for _ in 0..COUNTED_CHUNKS_MAX {
        while next(lines).is_some() {
            tally.refused += 1;
        }
        let mut fds = [PollFd::new(&input, PollFlags::IN)];
        let ready = wait(&mut fds, Some(Duration::ZERO)).is_ok() && !fds[0].revents().is_empty();
        if lines.is_read() || !ready || lines.fill(input.as_fd()).is_err() {
            break;
        }
    }
    lines.has_ended()
}

impl Publisher {
    /// Publishes until the input has ended and all is answered, or the connection ends.
    fn run(
        &mut self,
        lines: &mut Lines,
        next: &mut impl FnMut(&mut Lines) -> Option<Line>,
        from_input: bool,
    ) -> Result<Option<End>, String> {
        let input = io::stdin();
        loop {
            // An end that is known by now keeps what follows from being sent.
            if let Err(end) = self.hear() {
                return Ok(Some(end));
            }
            while self.tally.flying < self.window && !self.link.has_unsent() {
                let Some(line) = next(lines) else { break };
                if let Err(end) = self.publish(line) {
                    return Ok(Some(end));
                }
            }
            let hungry = self.tally.flying < self.window && !self.link.has_unsent();
            if let Err(end) = self.link.flush() {
                return Ok(Some(end));
            }
            let at_end = !from_input || lines.has_ended();
            if at_end && self.tally.flying == 0 {
                return Ok(None);
            }
            if self.tally.flying > 0 && self.heard.elapsed() > ANSWER_MAX {
                return Ok(Some(End::Lost(format!("no answer in {ANSWER_MAX:?}"))));
            }
            let reads = from_input && hungry && !lines.is_read();
            if self.doze(&input, reads)? {
                lines.fill(input.as_fd())?;
            }
        }
    }

    /// Waits for the server, or for input if `reads`. Returns `true` if there is input.
    fn doze(&self, input: &io::Stdin, reads: bool) -> Result<bool, String> {
        let out = if self.link.has_unsent() { PollFlags::OUT } else { PollFlags::empty() };
        let wants = if reads { PollFlags::IN } else { PollFlags::empty() };
        let both = &mut [PollFd::new(&self.link, PollFlags::IN | out), PollFd::new(input, wants)];
        // An input that has hung up would tell so again and again.
        let fds = if reads { &mut both[..] } else { &mut both[..1] };
        wait(fds, (self.tally.flying > 0).then_some(ANSWER_MAX))?;
        Ok(reads && !fds[1].revents().is_empty())
    }

    /// Takes what the server has said.
    fn hear(&mut self) -> Result<(), End> {
        while let Some(message) = self.link.next()? {
            let Message::Text(text) = message else { continue };
            let Ok(answer) = serde_json::from_str::<Answer>(&text) else { continue };
            match answer.kind.as_str() {
                "ack" => {
                    self.tally.taken += 1;
                    self.window = WINDOW_MAX.min(self.window + 1);
                }
                // Only publications are sent, so each error answers one of them.
                "error" => {
                    let text = answer.text.escape_debug();
                    self.tally.refuse(format!("{}, {text}", answer.code.escape_debug()));
                }
                _ => continue,
            }
            self.tally.flying = self.tally.flying.saturating_sub(1);
            self.heard = Instant::now();
        }
        Ok(())
    }

    /// Sends one line, unless it is known that the server does not take it.
    fn publish(&mut self, line: Line) -> Result<(), End> {
        let number = self.tally.all() + 1;
        let text = match line {
            Line::Text(text) => text,
            Line::Invalid => {
                self.tally.refuse(format!("line {number} is not UTF-8"));
                return Ok(());
            }
            Line::TooLong => {
                self.too_large(number);
                return Ok(());
            }
        };
        let sent = Sent { kind: "publish", id: number, channel: &self.channel, body: &text };
        let frame = serde_json::to_string(&sent).expect("texts and a number are JSON");
        if frame.len() > self.message_bytes {
            self.too_large(number);
            return Ok(());
        }
        if self.tally.flying == 0 {
            self.heard = Instant::now();
        }
        self.tally.flying += 1;
        self.link.put(frame)
    }

    fn too_large(&mut self, number: u64) {
        let most = self.message_bytes;
        let why = format!("line {number} is too large for the {most} bytes of a message");
        self.tally.refuse(why);
    }
}

impl Tally {
    fn refuse(&mut self, why: String) {
        self.refused += 1;
        self.why.get_or_insert(why);
    }

    fn all(&self) -> u64 {
        self.taken + self.refused + self.flying
    }

    /// `2 of 3 lines were published, 1 was not: line 2 is too large …`.
    fn sentence(&self) -> String {
        let (taken, refused, all) = (self.taken, self.refused, self.all());
        let were = |count: u64| if count == 1 || all == 1 { "was" } else { "were" };
        let lines = if all == 1 { "line" } else { "lines" };
        let unknown = match self.flying {
            0 => String::new(),
            flying => format!(", and of {flying} it is not known, as no answer came"),
        };
        let text = format!(
            "{taken} of {all} {lines} {} published, {refused} {} not{unknown}",
            were(taken),
            were(refused)
        );
        match &self.why {
            Some(why) => format!("{text}: {why}"),
            None => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tally_is_told_in_one_sentence() {
        let mut tally = Tally { taken: 2, ..Tally::default() };
        tally.refuse("line 2 is not UTF-8".into());
        tally.refuse("rate, too many messages".into());
        assert_eq!(
            tally.sentence(),
            "2 of 4 lines were published, 2 were not: line 2 is not UTF-8"
        );
        let lost = Tally { taken: 1, flying: 3, ..Tally::default() };
        assert_eq!(
            lost.sentence(),
            "1 of 4 lines was published, 0 were not, and of 3 it is not known, as no answer came"
        );
    }
}
