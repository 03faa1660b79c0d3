//! The families of the engine: how this node reaches it, what goes both ways, and what was found to
//! be missing.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::bus_status::{FIGURES, Status};

/// The state of the bus, for one scrape.
#[derive(Debug, Clone, Default)]
pub(super) struct Engine(pub(super) Status);

impl Engine {
    /// Writes the families, if there is an engine.
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        if !self.0.is_on() {
            return Ok(());
        }
        for (figure, name, help, counts) in FIGURES {
            let kind = if counts { MetricType::Counter } else { MetricType::Gauge };
            let name = format!("stentor_bus_{name}");
            let mut metric = encoder.encode_descriptor(&name, help, None, kind)?;
            let value = self.0.get(figure);
            if counts {
                metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
            } else {
                metric.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))?;
            }
        }
        Ok(())
    }

    /// That of a node, for tests.
    #[cfg(test)]
    pub(super) fn sample() -> Self {
        let status = Status::default();
        status.begin();
        Self(status)
    }
}
