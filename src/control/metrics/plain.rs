//! `OpenMetrics` as Prometheus' text format 0.0.4: the names of counters stand in full where
//! types and helps are told, and there are no units and no end.

/// Writes a scrape that is `OpenMetrics` text in the older format.
pub(super) fn from_open_metrics(open: &str) -> String {
    let mut plain = String::with_capacity(open.len());
    // The help comes before the type that decides over its name.
    let mut help = None;
    for line in open.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match *words {
            ["#", "HELP", _, text] => help = Some(text),
            ["#", "TYPE", name, kind] => {
                let suffix = if kind == "counter" { "_total" } else { "" };
                if let Some(help) = help.take() {
                    push(&mut plain, &["# HELP ", name, suffix, " ", help]);
                }
                push(&mut plain, &["# TYPE ", name, suffix, " ", kind]);
            }
            ["#", ..] => {}
            _ => push(&mut plain, &[line]),
        }
    }
    plain
}

fn push(plain: &mut String, parts: &[&str]) {
    plain.extend(parts.iter().copied());
    plain.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_named_in_full_and_the_rest_stays() {
        let open = "# HELP a_seconds Time of a.\n# TYPE a_seconds counter\n\
                    # UNIT a_seconds seconds\na_seconds_total{s=\"0\"} 1.5\n\
                    # HELP b The b\n# TYPE b gauge\nb 1\n\
                    # TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\n# EOF\n";
        let plain = "# HELP a_seconds_total Time of a.\n# TYPE a_seconds_total counter\n\
                     a_seconds_total{s=\"0\"} 1.5\n# HELP b The b\n# TYPE b gauge\nb 1\n\
                     # TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\n";
        assert_eq!(from_open_metrics(open), plain);
    }
}
