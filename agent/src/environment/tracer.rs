//! The image's variables for tracing: one provider, or none.

use std::net::{IpAddr, SocketAddr};

use super::{Reader, port};
use crate::tracer::{DATADOG_PORT, HOST, JAEGER_PORT, Sampling, Tracer, XRAY_PERCENT, XRAY_PORT};

/// Reads what is said of one provider.
type Provider = fn(&mut Reader<'_>) -> Tracer;

/// The provider that is turned on. Two at once are a mistake.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Tracer> {
    let providers: [(&'static str, Provider); 3] = [
        ("ENABLE_ENVOY_XRAY_TRACING", x_ray),
        ("ENABLE_ENVOY_JAEGER_TRACING", jaeger),
        ("ENABLE_ENVOY_DATADOG_TRACING", datadog),
    ];
    let mut chosen: Option<(&str, Tracer)> = None;
    for (variable, tracer) in providers {
        let other = chosen.as_ref().map(|(other, _)| *other);
        if reader.first(&[variable], |text| is_on(text, other)).unwrap_or(false) {
            chosen = Some((variable, tracer(reader)));
        }
    }
    chosen.map(|(_, tracer)| tracer)
}

fn is_on(text: &str, other: Option<&str>) -> Result<bool, String> {
    match (text, other) {
        ("0" | "false", _) => Ok(false),
        ("1" | "true", None) => Ok(true),
        ("1" | "true", Some(other)) => {
            Err(format!("{other} is on as well, and Envoy can be told of one provider"))
        }
        _ => Err("one of 1, 0, true and false is wanted".to_owned()),
    }
}

fn x_ray(reader: &mut Reader<'_>) -> Tracer {
    let text = |text: &str| Ok(text.to_owned());
    let own_port = reader.first(&["XRAY_DAEMON_PORT"], a_port).unwrap_or(XRAY_PORT);
    let daemon = reader.first(&["AWS_XRAY_DAEMON_ADDRESS"], |text| daemon(text, XRAY_PORT));
    let daemon = daemon.unwrap_or_else(|| (IpAddr::from([127, 0, 0, 1]), own_port).into());
    let percent = reader.first(&["XRAY_SAMPLING_RATE"], percent).unwrap_or(XRAY_PERCENT);
    let manifest = reader.first(&["XRAY_SAMPLING_RULE_MANIFEST"], text).map(Sampling::Manifest);
    Tracer::XRay {
        address: daemon.ip(),
        port: daemon.port(),
        sampling: manifest.unwrap_or(Sampling::Percent(percent)),
        segment: reader.first(&["XRAY_SEGMENT_NAME"], text),
    }
}

fn jaeger(reader: &mut Reader<'_>) -> Tracer {
    let version = |text: &str| match text {
        "JSON" => Ok(true),
        "PROTO" => Ok(false),
        _ => Err("JSON or PROTO is wanted".to_owned()),
    };
    Tracer::Jaeger {
        host: host(reader, "JAEGER_TRACER_ADDRESS"),
        port: reader.first(&["JAEGER_TRACER_PORT"], a_port).unwrap_or(JAEGER_PORT),
        json: reader.first(&["JAEGER_TRACER_VERSION"], version).unwrap_or(false),
    }
}

fn datadog(reader: &mut Reader<'_>) -> Tracer {
    Tracer::Datadog {
        host: host(reader, "DATADOG_TRACER_ADDRESS"),
        port: reader.first(&["DATADOG_TRACER_PORT"], a_port).unwrap_or(DATADOG_PORT),
        service: reader.first(&["DD_SERVICE"], |text| Ok(text.to_owned())),
    }
}

fn host(reader: &mut Reader<'_>, variable: &'static str) -> String {
    reader.first(&[variable], |text| Ok(text.to_owned())).unwrap_or_else(|| HOST.to_owned())
}

fn a_port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| port())
}

/// An address, with a port or without.
fn daemon(text: &str, port: u16) -> Result<SocketAddr, String> {
    let bare = |_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port));
    text.parse().or_else(bare).map_err(|_| "an IP address is wanted, with or without a port".to_owned())
}

/// A rate of 0 to 1, to two decimals, as the image took it.
fn percent(text: &str) -> Result<u8, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.0..=1.0).contains(rate));
    let rate = rate.ok_or_else(|| "a number of 0 to 1 is wanted".to_owned())?;
    let percent = format!("{:.0}", rate * 100.0);
    percent.parse().map_err(|_| "a number of 0 to 1 is wanted".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    fn parse(variables: &[(&str, &str)]) -> Result<Option<Tracer>, String> {
        let map = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Environment::parse(&map).map(|environment| environment.tracer).map_err(|error| error.to_string())
    }

    fn x_ray_at(address: &str, port: u16, sampling: Sampling) -> Result<Option<Tracer>, String> {
        Ok(Some(Tracer::XRay { address: address.parse().unwrap(), port, sampling, segment: None }))
    }

    #[test]
    fn without_a_provider_nothing_is_traced() {
        assert_eq!(parse(&[]), Ok(None));
        assert_eq!(parse(&[("ENABLE_ENVOY_XRAY_TRACING", "0"), ("XRAY_DAEMON_PORT", "1")]), Ok(None));
    }

    #[test]
    fn each_provider_has_the_images_defaults_and_may_be_elsewhere() {
        let xray = ("ENABLE_ENVOY_XRAY_TRACING", "1");
        assert_eq!(parse(&[xray]), x_ray_at("127.0.0.1", 2000, Sampling::Percent(5)));
        let (port, address) = (("XRAY_DAEMON_PORT", "2001"), ("AWS_XRAY_DAEMON_ADDRESS", "10.0.0.1"));
        let rate = ("XRAY_SAMPLING_RATE", "0.289");
        assert_eq!(parse(&[xray, port, rate]), x_ray_at("127.0.0.1", 2001, Sampling::Percent(29)));
        let file = Sampling::Manifest("/rules.json".to_owned());
        let rules = ("XRAY_SAMPLING_RULE_MANIFEST", "/rules.json");
        assert_eq!(parse(&[xray, address, port, rate, rules]), x_ray_at("10.0.0.1", 2000, file));
        let both = ("AWS_XRAY_DAEMON_ADDRESS", "[::1]:3000");
        assert_eq!(parse(&[xray, both]), x_ray_at("::1", 3000, Sampling::Percent(5)));

        let jaeger = ("ENABLE_ENVOY_JAEGER_TRACING", "true");
        let at = |host: &str, port, json| Ok(Some(Tracer::Jaeger { host: host.to_owned(), port, json }));
        assert_eq!(parse(&[jaeger]), at("127.0.0.1", 9411, false));
        let elsewhere = [("JAEGER_TRACER_ADDRESS", "jaeger.local"), ("JAEGER_TRACER_PORT", "1")];
        let version = ("JAEGER_TRACER_VERSION", "JSON");
        assert_eq!(parse(&[jaeger, elsewhere[0], elsewhere[1], version]), at("jaeger.local", 1, true));

        let datadog = ("ENABLE_ENVOY_DATADOG_TRACING", "1");
        let of = |service: Option<&str>| {
            let service = service.map(str::to_owned);
            Ok(Some(Tracer::Datadog { host: "127.0.0.1".to_owned(), port: 8126, service }))
        };
        assert_eq!(parse(&[datadog]), of(None));
        assert_eq!(parse(&[datadog, ("DD_SERVICE", "shop")]), of(Some("shop")));
    }

    #[test]
    fn two_providers_at_once_and_values_out_of_bounds_are_mistakes() {
        let jaeger = ("ENABLE_ENVOY_JAEGER_TRACING", "1");
        let both = parse(&[("ENABLE_ENVOY_XRAY_TRACING", "1"), jaeger]).unwrap_err();
        assert!(both.contains("ENABLE_ENVOY_XRAY_TRACING is on as well"), "{both}");
        let xray = ("ENABLE_ENVOY_XRAY_TRACING", "1");
        for wrong in [
            ("ENABLE_ENVOY_DATADOG_TRACING", "yes"),
            ("XRAY_SAMPLING_RATE", "1.01"),
            ("XRAY_SAMPLING_RATE", "NaN"),
            ("XRAY_DAEMON_PORT", "65536"),
            ("AWS_XRAY_DAEMON_ADDRESS", "xray.local:2000"),
        ] {
            let refused = parse(&[xray, wrong]).unwrap_err();
            assert!(refused.starts_with(wrong.0), "{refused}");
        }
        let refused = parse(&[jaeger, ("JAEGER_TRACER_VERSION", "THRIFT")]).unwrap_err();
        assert!(refused.contains("JSON or PROTO"), "{refused}");
    }
}
