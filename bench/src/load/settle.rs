//! The clients and publishers of a load with channels, or with direct messages.

use super::audience::Audience;
use super::plan::{Hears, Plan};

impl Plan {
    /// The same load with what follows from its channels, or what makes no sense of them.
    pub(crate) fn settled(&self) -> Result<Self, String> {
        let mut plan = self.clone();
        let Audience { channels, members, direct } = self.audience;
        if let (Some(channels), Some(members)) = (channels, members) {
            if channels == 0 || self.publishers > members {
                let publishers = self.publishers;
                return Err(format!("{publishers} publishers of {members} members of a channel"));
            }
            plan.setup.channels = Some(channels);
            plan.setup.clients = channels.saturating_mul(members);
            plan.publishers = channels.saturating_mul(self.publishers);
            plan.hears = Hears::Channel;
        }
        if direct {
            if self.setup.agents.count() > 0 || self.reconnect.backoff().is_some() {
                return Err("--direct goes with neither --agents nor --reconnect".into());
            }
            plan.hears = Hears::One;
        }
        let message = &self.traffic.message;
        if direct != message.has_addressee() {
            let why = "--direct needs $TO in --message, the number of the client that it is for, \
                       and nothing else has one";
            return Err(why.into());
        }
        if channels.is_none() && (message.has_channel() || self.setup.asks_for_channels()) {
            return Err("$C is the number of a channel: how many are there? --channels".into());
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        plan: Plan,
    }

    fn settled(line: &str) -> Result<Plan, String> {
        let words = std::iter::once("x").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        let plan = line.plan.settled()?;
        plan.check().map(|()| plan)
    }

    #[test]
    fn channels_are_dealt_out_whole() {
        let plan = settled("127.0.0.1:1/?c=$C --channels 5 --members 3 -P 2 --threads 2").unwrap();
        assert_eq!((plan.setup.clients, plan.publishers), (15, 10));
        let tasks = plan.tasks().unwrap();
        let shares: Vec<_> = tasks
            .iter()
            .map(|task| (task.request.first, task.clients, task.request.channels.clone().unwrap()))
            .collect();
        assert_eq!(shares, [(0, 9, 0..3), (9, 6, 3..5)]);
        // The first publisher of each channel, then the second one.
        let publishers: Vec<_> = tasks.iter().map(|task| task.publishers.clone()).collect();
        assert_eq!(publishers, [vec![0, 1, 2, 5, 6, 7], vec![3, 4, 8, 9]]);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (line, word) in [
            ("x:1 --channels 5", "--members"),
            ("x:1 --channels 5 --members 3 -c 15", "cannot be used with"),
            ("x:1 --channels 5 --members 3 -P 4", "4 publishers of 3"),
            ("x:1 --channels 2 --members 3 --threads 3", "3 threads for 2 channels"),
            ("x:1?c=$C", "--channels"),
            ("x:1 --message $C:$MSG", "--channels"),
            ("x:1 --direct", "$TO"),
            ("x:1 --message $TO:$MSG", "$TO"),
            ("x:1 --direct --message $TO:$MSG --reconnect", "--reconnect"),
            ("x:1 --channels 0 --members 3", "of a channel"),
        ] {
            let error = settled(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
        assert!(settled("x:1 --direct --message $TO:$MSG").is_ok());
    }
}
