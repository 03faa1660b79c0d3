//! The families of apps.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use stentor_shards::{AppFigures, Rules};

use crate::control::apps::figures::FIGURES;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct App {
    app: Arc<str>,
}

/// The figures of all apps at one moment.
#[derive(Debug)]
pub(super) struct Apps(Vec<(App, AppFigures)>);

impl Apps {
    pub(super) fn of(rules: &Rules) -> Self {
        let all = rules.apps().into_iter();
        Self(all.map(|app| (App { app: Arc::clone(&app.id) }, app.tally.figures())).collect())
    }

    /// One app, for a scrape with every family.
    #[cfg(test)]
    pub(super) fn one() -> Self {
        Self(vec![(App { app: "1".into() }, AppFigures::default())])
    }

    /// Writes all families, if there is an app.
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        if self.0.is_empty() {
            // A family without samples is none to some parsers.
            return Ok(());
        }
        for figure in &FIGURES {
            let counted = figure.name.strip_suffix("_total");
            let kind = counted.map_or(MetricType::Gauge, |_| MetricType::Counter);
            let name = format!("stentor_app_{}", counted.unwrap_or(figure.name));
            let mut family = encoder.encode_descriptor(&name, figure.help, None, kind)?;
            for (label, figures) in &self.0 {
                let value = (figure.of)(figures);
                let mut one = family.encode_family(label)?;
                match counted {
                    Some(_) => one.encode_counter::<NoLabelSet, _, u64>(&value, None)?,
                    None => one.encode_gauge(&value)?,
                }
            }
        }
        Ok(())
    }
}
