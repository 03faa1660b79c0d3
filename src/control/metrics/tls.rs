//! The families of certificates: how often they were read again, and when each of them ends.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::tls::{Counts, Expiry};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Certificate {
    file: String,
}

/// The facts that are told of certificates.
#[derive(Debug, Clone, Default)]
pub(super) struct Tls {
    pub(super) counts: Counts,
    pub(super) expiries: Vec<Expiry>,
}

impl Tls {
    /// Writes the families.
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut counter = |name: &str, help: &str, value: u64| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
        };
        let help = "Times that certificates were read again and put in force";
        counter("stentor_tls_reloads", help, self.counts.reloads)?;
        let help = "Times that certificates could not be read again, so that the old ones stayed";
        counter("stentor_tls_reload_failures", help, self.counts.failures)?;
        if self.expiries.is_empty() {
            return Ok(());
        }
        let help = "End of the time of a certificate, since 1970";
        let (name, unit) = ("stentor_tls_certificate_expiry", Some(&Unit::Seconds));
        let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for expiry in &self.expiries {
            let labels = Certificate { file: expiry.file.clone() };
            metric.encode_family(&labels)?.encode_gauge(&expiry.end_s)?;
        }
        Ok(())
    }

    /// One of each, for tests.
    #[cfg(test)]
    pub(super) fn sample() -> Self {
        Self {
            counts: Counts { reloads: 2, failures: 3 },
            expiries: vec![Expiry { file: "a.pem".into(), end_s: 1_900_000_000 }],
        }
    }
}
