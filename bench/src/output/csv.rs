//! One row a second, for spreadsheets.

use std::fmt::Write as _;

use super::hist;
use crate::meter::real;
use crate::run::Run;

/// The columns and what they hold.
pub(crate) const COLUMNS: [(&str, &str); 14] = [
    ("at_s", "seconds since measuring began, where the second begins"),
    ("published", "messages published in it"),
    ("deliveries", "receipts in it"),
    ("connects", "handshakes answered in it"),
    ("server_cpu_share", "the server's share of one core; empty where its process is not known"),
    ("generator_cpu_share", "that of the generator's busiest thread"),
    ("count", "latencies measured in it, of what follows"),
    ("min_ms", "the least of them, in milliseconds; these are empty where nothing was measured"),
    ("p50_ms", "their median"),
    ("p90_ms", "nine in ten are at most this"),
    ("p99_ms", "99 in a hundred"),
    ("p99.9_ms", "999 in a thousand"),
    ("max_ms", "the most of them"),
    ("mean_ms", "their mean"),
];

/// Writes the seconds of a run under the names of [`COLUMNS`].
pub(crate) fn write(run: &Run) -> Result<String, String> {
    let mut out = COLUMNS.map(|(name, _)| name).join(",") + "\n";
    for second in &run.series {
        let histogram = hist::decode(&second.histogram)?;
        let cpu = second.server_cpu_share.map(|share| format!("{share:.4}")).unwrap_or_default();
        let _ = write!(
            out,
            "{:.3},{},{},{},{cpu},{:.4},{}",
            second.at_s,
            second.published,
            second.deliveries,
            second.connects,
            second.generator_cpu_share,
            histogram.len(),
        );
        let at = |quantile| real(histogram.value_at_quantile(quantile));
        let (min, max) = (real(histogram.min()), real(histogram.max()));
        for ns in [min, at(0.5), at(0.9), at(0.99), at(0.999), max, histogram.mean()] {
            if histogram.is_empty() {
                out.push(',');
            } else {
                let _ = write!(out, ",{:.6}", ns / 1e6);
            }
        }
        out.push('\n');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    #[test]
    fn a_second_is_a_row() {
        let mut run = sample::run();
        run.series[1].server_cpu_share = None;
        run.series[2].histogram.clear();
        let text = write(&run).unwrap();
        assert_eq!(
            text,
            "at_s,published,deliveries,connects,server_cpu_share,generator_cpu_share,count,\
             min_ms,p50_ms,p90_ms,p99_ms,p99.9_ms,max_ms,mean_ms\n\
             0.000,50,500000,0,0.4800,0.6100,300,0.999936,2.490367,3.690495,3.960831,3.991551,\
             3.991551,2.495011\n\
             1.000,50,499999,0,,0.6100,300,1.009664,2.500607,3.700735,3.971071,4.001791,\
             4.001791,2.505013\n\
             2.000,50,500000,0,0.4800,0.6100,0,,,,,,,\n"
        );
        let width = text.lines().map(|line| line.split(',').count());
        assert!(width.eq([COLUMNS.len(); 4]));
    }

    #[test]
    fn the_columns_are_documented() {
        let text = include_str!("../../OUTPUTS.md");
        for (name, what) in COLUMNS {
            assert!(text.contains(&format!("| `{name}` | {what} |")), "{name}");
        }
    }
}
