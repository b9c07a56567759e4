//! What came of requests for certificates at the gate in front of issuing, for `/metrics`.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use signet_ca::{Admission, admission::Counts};

/// Reads the gate's own counts when it is asked.
#[derive(Debug)]
pub(super) struct Asked(pub(super) Admission);

impl Collector for Asked {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Counts { admitted, waited, too_often, full, waiting } = self.0.counts();
        let outcomes = [
            ("at_once", admitted.saturating_sub(waited)),
            ("after_a_wait", waited),
            ("too_often", too_often),
            ("full", full),
        ];
        let help = "Requests for certificates by what came of them at the gate in front of issuing";
        let mut family = encoder.encode_descriptor("signet_admission", help, None, MetricType::Counter)?;
        for (outcome, count) in outcomes {
            ConstCounter::new(count).encode(family.encode_family(&[("outcome", outcome)])?)?;
        }
        let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
        let help = "Requests for certificates that wait for a place";
        let gauge = encoder.encode_descriptor("signet_admission_waiting", help, None, MetricType::Gauge)?;
        ConstGauge::new(waiting).encode(gauge)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration, time::UNIX_EPOCH};

    use prometheus_client::{encoding::text::encode, registry::Registry};
    use signet_ca::admission::Limits;

    use super::*;

    #[tokio::test]
    async fn what_came_of_requests_is_counted_by_outcome() {
        let limits = Limits { burst: 1, per_second: 1, ..Limits::DEFAULT };
        let admission = Admission::new(limits, Arc::new(|| UNIX_EPOCH));
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Asked(admission.clone())));
        assert!(admission.admit("a", Duration::ZERO).await.is_ok());
        assert!(admission.admit("a", Duration::ZERO).await.is_err());
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "signet_admission_total{outcome=\"at_once\"} 1",
            "signet_admission_total{outcome=\"too_often\"} 1",
            "signet_admission_waiting 0",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
        }
    }
}
