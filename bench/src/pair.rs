//! Two servers under the same load in turn: each started anew for every run, and none beside the
//! other.

use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stentor_units::Url;

use crate::live;
use crate::load::{Failed, Origin};
use crate::measure::Measure;
use crate::meter;
use crate::output::brief;
use crate::run::Run;
use crate::served::Served;
use crate::units;

/// Two servers to be compared.
#[derive(Debug, Clone, clap::Args)]
#[expect(clippy::struct_field_names, reason = "they are the flags' names")]
pub(crate) struct Pair {
    /// Start two servers in turn, put each under the load, and compare them: the commands, for sh.
    #[arg(long, num_args = 2, value_names = ["CMD1", "CMD2"])]
    pair: Vec<String>,
    /// How often each is started.
    #[arg(
        long, value_name = "N", default_value = "5", requires = "pair", value_parser = units::count
    )]
    pair_repeats: usize,
    /// Where the second server is, if not at the same URL.
    #[arg(long, value_name = "URL", requires = "pair", value_parser = Url::read)]
    pair_url: Option<Url>,
    /// Their names in tables, as a,b; without it their commands.
    #[arg(long, value_name = "A,B", requires = "pair", value_parser = labels)]
    pair_labels: Option<[String; 2]>,
}

/// One of the two.
struct Side<'a> {
    label: String,
    command: &'a str,
    url: Url,
    /// It may listen at one of them only.
    addresses: Vec<SocketAddr>,
}

impl Pair {
    /// Returns `true` if two servers are to be compared.
    pub(crate) fn is_asked(&self) -> bool {
        !self.pair.is_empty()
    }

    /// The runs of both, in the order A, B, B, A, A, B: what changes slowly hits both alike. An
    /// interrupted run is left out.
    pub(crate) fn run<L: Measure>(
        &self,
        load: &L,
        stopped: &Arc<AtomicBool>,
    ) -> Result<Vec<Run>, Failed> {
        let sides = self.sides(&load.setup().url).map_err(Failed::Unreachable)?;
        let mut runs = Vec::new();
        for repeat in 0..self.pair_repeats {
            for place in order(repeat) {
                let side = &sides[place];
                let run = one_run(load, side, stopped)?;
                if stopped.load(Ordering::Relaxed) {
                    return Ok(runs);
                }
                if !load.setup().quiet {
                    let (number, of) = (repeat + 1, self.pair_repeats);
                    let (label, brief) = (&side.label, brief::write(&run));
                    live::say(&format!("{number} of {of}  {label}  {brief}"))?;
                }
                runs.push(run);
            }
        }
        Ok(runs)
    }

    fn sides(&self, url: &Url) -> Result<[Side<'_>; 2], String> {
        let [first, second] = &self.pair[..] else { return Err("two commands make a pair".into()) };
        let [a, b] = self.pair_labels.clone().unwrap_or_else(|| named(first, second));
        let side = |label, command, url: Url| -> Result<Side<'_>, String> {
            let addresses = url.addresses()?;
            Ok(Side { label, command, url, addresses })
        };
        let other = self.pair_url.clone().unwrap_or_else(|| url.clone());
        Ok([side(a, first.as_str(), url.clone())?, side(b, second.as_str(), other)?])
    }
}

/// Starts the server, puts it under the load, and ends it.
fn one_run<L: Measure>(
    load: &L,
    side: &Side<'_>,
    stopped: &Arc<AtomicBool>,
) -> Result<Run, Failed> {
    let mut shell = Command::new("sh");
    let started = Served::start(shell.args(["-c", side.command]), &side.addresses);
    let named = |error: io::Error| io::Error::other(format!("{}: {error}", side.label));
    let served = started.map_err(named)?;
    let pid = served.pid();
    meter::settle(pid).map_err(named)?;
    let mut load = load.clone();
    let setup = load.setup_mut();
    (setup.url, setup.server_pid, setup.quiet) = (side.url.clone(), Some(pid), true);
    setup.server_origin = Origin::Own;
    setup.label.clone_from(&side.label);
    let run = load.run(stopped)?;
    served.end().map_err(named)?;
    Ok(run)
}

/// Returns the order of a repeat: the first one changes with every repeat.
fn order(repeat: usize) -> [usize; 2] {
    if repeat.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}

/// Returns their names: their programs if these differ, their commands if not.
fn named(first: &str, second: &str) -> [String; 2] {
    let program = |command: &str| {
        let mut words = command.split_whitespace().filter(|word| *word != "exec");
        let word = words.find(|word| !word.contains('=')).unwrap_or_default();
        word.rsplit('/').next().unwrap_or_default().to_owned()
    };
    let programs = [program(first), program(second)];
    if programs[0] != programs[1] {
        return programs;
    }
    if first.trim() != second.trim() {
        return [first.trim().to_owned(), second.trim().to_owned()];
    }
    // The same twice: how far a figure spreads by itself.
    [format!("1: {}", programs[0]), format!("2: {}", programs[1])]
}

fn labels(text: &str) -> Result<[String; 2], String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    match parts[..] {
        [a, b] if !a.is_empty() && !b.is_empty() && a != b => Ok([a.to_owned(), b.to_owned()]),
        _ => Err(format!("{text:?} is not two different labels such as before,after")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_is_always_the_first() {
        let places: Vec<usize> = (0..3).flat_map(order).collect();
        assert_eq!(places, [0, 1, 1, 0, 0, 1]);
    }

    #[test]
    fn servers_are_called_as_briefly_as_tells_them_apart() {
        let of = |a: &str, b: &str| named(a, b).map(|name| name.clone());
        assert_eq!(of("exec ./a/stentor --x", "A=1 node ws.mjs"), ["stentor", "node"]);
        assert_eq!(of("raw --x", " raw --y"), ["raw --x", "raw --y"]);
        assert_eq!(of("a/raw", "a/raw"), ["1: raw", "2: raw"]);
    }

    #[test]
    fn labels_are_two() {
        assert_eq!(labels("a, b"), Ok(["a".to_owned(), "b".to_owned()]));
        for text in ["", "a", "a,", "a,a", "a,b,c"] {
            assert!(labels(text).is_err(), "{text}");
        }
    }
}
