//! The charts of the report: a curve of percentiles, and the seconds of a run.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::hist;
use crate::meter::real;
use crate::run::{Run, Second};

/// Points of a curve for each halving of the distance to 100 %.
const POINTS_PER_HALF_DISTANCE: u32 = 10;

/// The most columns of a chart over time; longer runs have several seconds in each.
const COLUMNS_MAX: usize = 120;

/// Cells of a heat map from a time to ten times that.
const CELLS_PER_DECADE: f64 = 10.0;

/// One run, as the script takes it. Times are in milliseconds.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Chart {
    pub(super) label: String,
    /// By name, as in [`Run::latencies`]: points of 1/(1-quantile) and the time.
    curves: BTreeMap<String, Vec<(f64, f64)>>,
    columns: Vec<Column>,
}

/// A stretch of a run.
#[derive(Debug, PartialEq, Serialize)]
struct Column {
    at_s: f64,
    seconds: f64,
    /// Receipts, or connects where nothing is said.
    per_s: f64,
    server_cpu: Option<f64>,
    generator_cpu: f64,
    p50: Option<f64>,
    p99: Option<f64>,
    max: Option<f64>,
    /// Where a cell begins, in tenths of a decade of milliseconds, and how many are in it.
    cells: Vec<(i32, u64)>,
}

impl Chart {
    pub(super) fn of(run: &Run, label: String) -> Result<Self, String> {
        let mut curves = BTreeMap::new();
        for (name, latency) in &run.latencies {
            if latency.count > 0 {
                curves.insert(name.clone(), curve(&hist::decode(&latency.histogram)?));
            }
        }
        let seconds_each = run.series.len().div_ceil(COLUMNS_MAX).max(1);
        let end_s =
            |next: usize| run.series.get(next).map_or(run.totals.seconds, |second| second.at_s);
        let columns = run
            .series
            .chunks(seconds_each)
            .enumerate()
            .map(|(index, part)| column(part, end_s(index * seconds_each + part.len())))
            .collect::<Result<_, _>>()?;
        Ok(Self { label, curves, columns })
    }
}

fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let count = real(histogram.len());
    let mut points: Vec<(f64, f64)> = histogram
        .iter_quantiles(POINTS_PER_HALF_DISTANCE)
        .map(|step| (1.0 / (1.0 - step.quantile_iterated_to()), step.value_iterated_to()))
        // Further out there is only the maximum, over and over.
        .take_while(|(inverse, _)| *inverse < count)
        .map(|(inverse, ns)| (short(inverse), short(ms(ns))))
        .collect();
    points.push((count, short(ms(histogram.max()))));
    points
}

fn column(part: &[Second], end_s: f64) -> Result<Column, String> {
    let histograms =
        part.iter().map(|second| hist::decode(&second.histogram)).collect::<Result<Vec<_>, _>>()?;
    let histogram = hist::merged(&histograms);
    let at_s = part.first().map_or(0.0, |second| second.at_s);
    // A last second that is cut short, or one that has no end, must not divide by zero.
    let seconds = if end_s - at_s > 0.01 { end_s - at_s } else { real(part.len() as u64) };
    let at = |ns: u64| (!histogram.is_empty()).then(|| short(ms(ns)));
    let server: Option<Vec<f64>> = part.iter().map(|second| second.server_cpu_share).collect();
    let generator: Vec<f64> = part.iter().map(|second| second.generator_cpu_share).collect();
    Ok(Column {
        at_s,
        seconds: short(seconds),
        per_s: short(real(part.iter().map(|at| at.deliveries + at.connects).sum()) / seconds),
        server_cpu: server.as_deref().map(mean),
        generator_cpu: mean(&generator),
        p50: at(histogram.value_at_quantile(0.5)),
        p99: at(histogram.value_at_quantile(0.99)),
        max: at(histogram.max()),
        cells: cells(&histogram),
    })
}

fn cells(histogram: &Histogram<u64>) -> Vec<(i32, u64)> {
    let mut cells = BTreeMap::new();
    for step in histogram.iter_recorded() {
        *cells.entry(cell(ms(step.value_iterated_to()))).or_default() += step.count_at_value();
    }
    cells.into_iter().collect()
}

#[expect(clippy::cast_possible_truncation, reason = "a tenth of a logarithm is a small number")]
fn cell(ms: f64) -> i32 {
    (ms.max(1e-6).log10() * CELLS_PER_DECADE).floor() as i32
}

fn mean(values: &[f64]) -> f64 {
    short(values.iter().sum::<f64>() / real(values.len() as u64))
}

fn ms(ns: u64) -> f64 {
    real(ns) / 1e6
}

/// Six digits, as more cannot be drawn or read.
fn short(value: f64) -> f64 {
    format!("{value:.5e}").parse().expect("a number that was written is read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    #[test]
    fn a_curve_ends_at_the_maximum() {
        let mut histogram = hist::empty();
        (1..=1000).for_each(|us| histogram.saturating_record(us * 1000));
        let curve = curve(&histogram);
        assert_eq!(curve.last(), Some(&(1000.0, 1.00045)));
        assert!(curve[curve.len() - 2].0 > 900.0, "{curve:?}");
        assert!(curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{curve:?}");
        let at_half = curve.iter().find(|(inverse, _)| (inverse - 2.0).abs() < 1e-9).unwrap();
        assert!((at_half.1 - 0.5).abs() < 0.001, "{at_half:?}");
    }

    #[test]
    fn a_short_run_has_a_column_a_second() {
        let chart = Chart::of(&sample::run(), "x".to_owned()).unwrap();
        assert_eq!(
            chart.curves.keys().collect::<Vec<_>>(),
            ["delivery", "last", "late", "service"]
        );
        assert_eq!(chart.columns.len(), 3);
        let column = &chart.columns[1];
        assert!((column.at_s - 1.0).abs() < 1e-9 && (column.seconds - 1.0).abs() < 1e-9);
        assert!((column.per_s - 499_999.0).abs() < 1.0);
        assert_eq!(column.max, Some(4.00179));
        // From 1.01 ms to 4 ms: tenths of a decade from 0 to 6, 300 values in all.
        assert_eq!(column.cells.first().unwrap().0, 0);
        assert_eq!(column.cells.last().unwrap().0, 6);
        assert_eq!(column.cells.iter().map(|(_, count)| count).sum::<u64>(), 300);
    }

    #[test]
    fn a_long_run_has_several_seconds_in_a_column() {
        let mut run = sample::bare("long", 1000);
        let second = run.series[0].clone();
        run.series = (0..250_u32)
            .map(|at| Second { at_s: at.into(), deliveries: at.into(), ..second.clone() })
            .collect();
        run.series[4].server_cpu_share = None;
        run.series[3].histogram.clear();
        run.totals.seconds = 250.0;
        let columns = Chart::of(&run, String::new()).unwrap().columns;
        assert_eq!(columns.len(), 84);
        assert!((columns[1].at_s - 3.0).abs() < 1e-9 && (columns[1].seconds - 3.0).abs() < 1e-9);
        assert!((columns[1].per_s - 4.0).abs() < 1e-9);
        assert_eq!((columns[0].server_cpu, columns[1].server_cpu), (Some(0.48), None));
        let count = |column: &Column| column.cells.iter().map(|(_, count)| count).sum::<u64>();
        assert_eq!((count(&columns[0]), count(&columns[1])), (900, 600));
        assert!((columns[83].seconds - 1.0).abs() < 1e-9);
        assert!((columns[83].per_s - 249.0).abs() < 0.1);
    }

    #[test]
    fn connects_are_counted_where_nothing_is_said() {
        let mut run = sample::bare("", 1000);
        for second in &mut run.series {
            (second.deliveries, second.connects) = (0, 70);
        }
        let columns = Chart::of(&run, String::new()).unwrap().columns;
        assert!((columns[1].per_s - 70.0).abs() < 1e-9);
    }

    #[test]
    fn a_second_without_latencies_is_empty() {
        let mut run = sample::bare("", 1000);
        run.series.truncate(1);
        run.series[0].histogram.clear();
        run.totals.seconds = 0.0;
        let columns = Chart::of(&run, String::new()).unwrap().columns;
        assert_eq!((columns[0].p50, columns[0].max, columns[0].cells.len()), (None, None, 0));
        assert!((columns[0].seconds - 1.0).abs() < 1e-9);
    }
}
