//! The choice between the two formats of metrics: a scraper gets the one that its `Accept` prefers.

/// A format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Prometheus' text format, which every scraper reads.
    Text,
    OpenMetrics,
}

impl Format {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Text => ("text", "plain", "0.0.4"),
            Self::OpenMetrics => ("application", "openmetrics-text", "1.0.0"),
        }
    }
}

/// One media range of an `Accept`, with its weight in thousandths.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    version: Option<&'a str>,
    weight: u16,
}

impl<'a> Range<'a> {
    /// Reads a range; other parameters than the version say nothing that could be chosen.
    fn read(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let mut range =
            Self { kind: kind.trim(), subtype: subtype.trim(), version: None, weight: 1000 };
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "version" => range.version = Some(value.trim().trim_matches('"')),
                "q" => range.weight = weight(value.trim())?,
                _ => {}
            }
        }
        Some(range)
    }

    /// Returns the exactness with which a range names a format; `None` if it does not.
    fn names(&self, format: Format) -> Option<u8> {
        let (kind, subtype, version) = format.names();
        match (self.kind, self.subtype) {
            ("*", "*") => Some(0),
            (own, "*") if own.eq_ignore_ascii_case(kind) => Some(1),
            (own, sub) if own.eq_ignore_ascii_case(kind) && sub.eq_ignore_ascii_case(subtype) => {
                match self.version {
                    None => Some(2),
                    Some(own) => (own == version).then_some(3),
                }
            }
            _ => None,
        }
    }
}

/// Reads a weight such as `0.5`: at most three digits behind the point, and no more than one.
fn weight(text: &str) -> Option<u16> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    if rest.len() > 3 || !rest.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{rest:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

/// Chooses a format for the values of all `Accept` headers. Where nothing of it is to be had, a
/// scraper gets the text format, as other exporters do; `None` if it refuses that by name.
pub(super) fn choose<'a>(accept: impl Iterator<Item = &'a str>) -> Option<Format> {
    let ranges: Vec<Range<'_>> =
        accept.flat_map(|value| value.split(',')).filter_map(Range::read).collect();
    // The most exact range decides over a format, not the one with the greatest weight.
    let wish = |format: Format| {
        let named = ranges.iter().filter_map(|range| Some((range.names(format)?, range.weight)));
        named.max().map(|(_, weight)| weight)
    };
    match (wish(Format::Text), wish(Format::OpenMetrics)) {
        (Some(0), None | Some(0)) => None,
        (text, open) if open.unwrap_or(0) > text.unwrap_or(0) => Some(Format::OpenMetrics),
        _ => Some(Format::Text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapers_get_the_format_that_they_prefer() {
        let text = Some(Format::Text);
        let open = Some(Format::OpenMetrics);
        for (accept, expected) in [
            // Nothing, curl, a browser.
            ("", text),
            ("*/*", text),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", text),
            // Prometheus 2 and 3.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
                 version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                open,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;\
                 version=0.0.4;q=0.3",
                open,
            ),
            // Agents that ask for protobuf first.
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
                 encoding=delimited;q=0.7,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
                text,
            ),
            ("text/plain;version=0.0.4;q=0.2, application/openmetrics-text;q=0.1", text),
            ("text/plain;version=\"0.0.4\";q=0.2, Application/OpenMetrics-Text; Q=0.3", open),
            ("application/*, text/*;q=0.9", open),
            // The more exact range counts, whatever its weight.
            ("application/openmetrics-text;q=0, */*", text),
            ("text/plain;q=0, */*;q=0.1", open),
            // Versions that there are not, and what is no Accept.
            ("application/openmetrics-text;version=0.0.1", text),
            ("application/openmetrics-text;version=2.0.0, text/plain;q=0.1", text),
            ("application/json", text),
            ("application/openmetrics-text;q=2, openmetrics, ;;,,", text),
            ("application/openmetrics-text;q=1.000, text/plain;q=0.999", open),
            // Not even the text format.
            ("text/plain;q=0", None),
            ("text/*;q=0, application/openmetrics-text;q=0.0", None),
        ] {
            assert_eq!(choose(std::iter::once(accept)), expected, "{accept}");
        }
        let two = ["text/plain;q=0.1", "application/openmetrics-text"];
        assert_eq!(choose(two.into_iter()), open);
        assert_eq!(choose(std::iter::empty()), text);
    }
}
