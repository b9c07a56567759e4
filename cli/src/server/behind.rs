//! Whether the clock was set back, for `/metrics`.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Unit,
};
use signet_ca::Issuing;

/// Compares the clock with what was issued when it is asked.
#[derive(Debug)]
pub(super) struct Behind(pub(super) Issuing);

impl Collector for Behind {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let behind = i64::try_from(self.0.clock_behind().as_secs()).unwrap_or(i64::MAX);
        let help =
            "How far the clock is behind the last certificate that was issued; above 0 it was set back";
        let unit = Some(&Unit::Seconds);
        let gauge = encoder.encode_descriptor("signet_clock_behind", help, unit, MetricType::Gauge)?;
        ConstGauge::new(behind).encode(gauge)
    }
}
