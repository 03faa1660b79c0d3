//! The flags that name the processes which drive a load.

/// The environment variable of the token.
pub(crate) const TOKEN: &str = "STENTOR_BENCH_TOKEN";

/// Most agents of one run.
const AGENTS_MAX: usize = 256;

/// The flags that name the processes which drive the clients of a run.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Agents {
    /// Processes that drive the clients instead of this one: so many of this host, or addresses of
    /// `stentor-bench agent`, such as a:7000,b:7000.
    #[arg(
        long = "agents", value_name = "N|HOST:PORT", value_delimiter = ',',
        value_parser = Party::read
    )]
    asked: Vec<Party>,
    /// The token of agents on other hosts.
    #[arg(long = "agents-token", value_name = "TOKEN", env = TOKEN, hide_env_values = true)]
    pub(crate) token: Option<String>,
}

/// One agent, or several of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Party {
    /// So many processes of this host.
    Local(usize),
    /// One that runs there.
    At(String),
}

impl Party {
    fn read(text: &str) -> Result<Self, String> {
        if let Ok(count) = text.parse() {
            return Ok(Self::Local(count));
        }
        let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        match port.and_then(|(_, port)| port.parse::<u16>().ok()) {
            Some(_) => Ok(Self::At(text.to_owned())),
            None => Err(format!("{text:?} is neither a number of agents nor HOST:PORT")),
        }
    }
}

impl Agents {
    /// How many there are; 0: this process drives the clients itself.
    pub(crate) fn count(&self) -> usize {
        let count = |party: &Party| match party {
            Party::Local(count) => *count,
            Party::At(_) => 1,
        };
        self.asked.iter().map(count).fold(0, usize::saturating_add)
    }

    /// Returns `true` if some of them were not started by this process.
    pub(crate) fn are_elsewhere(&self) -> bool {
        self.asked.iter().any(|party| matches!(party, Party::At(_)))
    }

    /// Returns an error for flags that contradict each other.
    pub(crate) fn check(&self) -> Result<(), String> {
        let count = self.count();
        if count > AGENTS_MAX {
            return Err(format!("{count} agents, at most {AGENTS_MAX} take part"));
        }
        if !self.asked.is_empty() && count == 0 {
            return Err("at least one agent".into());
        }
        Ok(())
    }

    /// One by one.
    pub(crate) fn parties(&self) -> impl Iterator<Item = &Party> {
        self.asked.iter().flat_map(|party| {
            let count = if let Party::Local(count) = party { *count } else { 1 };
            std::iter::repeat_n(party, count)
        })
    }
}

/// A command line as a record keeps it: the token is nobody else's business.
pub(crate) fn without_token(words: impl Iterator<Item = String>) -> Vec<String> {
    const FLAG: &str = "--agents-token";
    let mut is_token = false;
    let hide = |word: String| {
        let hidden = std::mem::replace(&mut is_token, word == FLAG);
        match word.split_once('=') {
            _ if hidden => "***".to_owned(),
            Some((FLAG, _)) => format!("{FLAG}=***"),
            _ => word,
        }
    };
    words.map(hide).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        agents: Agents,
    }

    fn agents(line: &str) -> Result<Agents, String> {
        let words = std::iter::once("x").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.agents).map_err(|error| error.to_string())
    }

    #[test]
    fn agents_are_counted_and_named() {
        for (line, count, elsewhere) in [
            ("", 0, false),
            ("--agents 3", 3, false),
            ("--agents a:7000,[::1]:7001", 2, true),
            ("--agents 2 --agents a:7000", 3, true),
        ] {
            let agents = agents(line).unwrap();
            assert_eq!((agents.count(), agents.are_elsewhere()), (count, elsewhere), "{line}");
            assert_eq!((agents.parties().count(), agents.check()), (count, Ok(())), "{line}");
        }
        for wrong in ["--agents x", "--agents :7000", "--agents a:b", "--agents -1", "--agents a:"]
        {
            assert!(agents(wrong).is_err(), "{wrong}");
        }
        for (line, word) in [
            ("--agents 0", "at least"),
            ("--agents 257", "257"),
            ("--agents 99999999999", "at most"),
        ] {
            assert!(agents(line).unwrap().check().unwrap_err().contains(word), "{line}");
        }
    }

    #[test]
    fn a_record_does_not_have_the_token() {
        let words = ["x", "--agents-token", "secret", "-c", "9", "--agents-token=secret"];
        let kept = without_token(words.into_iter().map(str::to_owned));
        assert_eq!(kept, ["x", "--agents-token", "***", "-c", "9", "--agents-token=***"]);
    }
}
