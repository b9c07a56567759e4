//! What App Mesh's users set on their Envoy containers, read from a map of variables.

mod tracer;

use std::{collections::BTreeMap, fmt, time::Duration};

use signet_policies::identity::Workload;
use thiserror::Error;

use crate::{server_addr::ServerAddr, tracer::Tracer};

/// The variables that name the workload, the one that counts first.
const RESOURCE: [&str; 3] = ["APPMESH_RESOURCE_ARN", "APPMESH_RESOURCE_NAME", "APPMESH_VIRTUAL_NODE_NAME"];
const CLUSTER: [&str; 2] = ["APPMESH_RESOURCE_CLUSTER", "APPMESH_VIRTUAL_NODE_CLUSTER"];

/// What the variables say. `None` where they say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `APPMESH_RESOURCE_ARN`, or one of its predecessors: whose proxy this is.
    pub workload: Option<Workload>,
    /// `APPMESH_RESOURCE_CLUSTER`: Envoy's `node.cluster`.
    pub cluster: Option<String>,
    /// `APPMESH_XDS_ENDPOINT`: where the server is.
    pub server: Option<ServerAddr>,
    /// `APPMESH_SDS_SOCKET_PATH`: where the agent serves secrets.
    pub sds_socket: Option<String>,
    /// `ENVOY_LOG_LEVEL`; as with App Mesh, a word that Envoy does not know means `info`.
    pub log_level: Option<LogLevel>,
    /// `ENVOY_ADMIN_ACCESS_PORT`.
    pub admin_port: Option<u16>,
    /// `ENVOY_CONCURRENCY`: worker threads.
    pub concurrency: Option<u16>,
    /// `ENVOY_INITIAL_FETCH_TIMEOUT`, seconds: how long Envoy waits for its first listeners and clusters.
    pub initial_fetch_timeout: Option<Duration>,
    /// `ENABLE_ENVOY_XRAY_TRACING`, `ENABLE_ENVOY_JAEGER_TRACING` or `ENABLE_ENVOY_DATADOG_TRACING`, and what is said of
    /// that provider: where Envoy sends its spans.
    pub tracer: Option<Tracer>,
}

/// How much Envoy logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// For developers.
    Debug,
    /// What happens.
    #[default]
    Info,
    /// What may be wrong.
    Warning,
    /// What is wrong.
    Error,
    /// What ends it.
    Critical,
    /// Nothing.
    Off,
}

/// Every variable that cannot be read, at once.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct InvalidEnvironment(pub Vec<Mistake>);

/// One variable that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The variable.
    pub variable: &'static str,
    /// Its value, cut at 300 characters.
    pub value: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={:?}: {}", self.variable, self.value, self.reason)
    }
}

impl LogLevel {
    /// As Envoy's `--log-level` spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Off => "off",
        }
    }

    fn lenient(text: &str) -> Self {
        match text {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "warn" | "warning" => Self::Warning,
            "error" => Self::Error,
            "critical" => Self::Critical,
            "off" => Self::Off,
            _ => Self::Info,
        }
    }
}

impl Environment {
    /// Reads the variables; an empty one counts as absent, and what App Mesh knows beside these is ignored.
    ///
    /// # Errors
    /// [`InvalidEnvironment`] with every mistake.
    pub fn parse(variables: &BTreeMap<String, String>) -> Result<Self, InvalidEnvironment> {
        let mut reader = Reader { variables, mistakes: Vec::new() };
        let seconds = |text: &str| text.parse().map(Duration::from_secs).map_err(|_| whole_number("seconds"));
        let environment = Self {
            workload: reader.first(&RESOURCE, |text| text.parse::<Workload>().map_err(|e| e.to_string())),
            cluster: reader.first(&CLUSTER, |text| Ok(text.to_owned())),
            server: reader.first(&["APPMESH_XDS_ENDPOINT"], |text| text.parse().map_err(explain)),
            sds_socket: reader.first(&["APPMESH_SDS_SOCKET_PATH"], |text| Ok(text.to_owned())),
            log_level: reader.first(&["ENVOY_LOG_LEVEL"], |text| Ok(LogLevel::lenient(text))),
            admin_port: reader.first(&["ENVOY_ADMIN_ACCESS_PORT"], |text| text.parse().map_err(|_| port())),
            concurrency: reader
                .first(&["ENVOY_CONCURRENCY"], |text| text.parse().map_err(|_| whole_number("threads"))),
            initial_fetch_timeout: reader.first(&["ENVOY_INITIAL_FETCH_TIMEOUT"], seconds),
            tracer: tracer::read(&mut reader),
        };
        match reader.mistakes.is_empty() {
            true => Ok(environment),
            false => Err(InvalidEnvironment(reader.mistakes)),
        }
    }
}

fn explain(error: impl fmt::Display) -> String {
    error.to_string()
}

fn whole_number(unit: &str) -> String {
    format!("a whole number of {unit} is wanted")
}

fn port() -> String {
    "a port is wanted, 0 to 65535".to_owned()
}

struct Reader<'a> {
    variables: &'a BTreeMap<String, String>,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    /// The first of `names` that is set, parsed; a mistake is noted and counts as absent.
    fn first<T>(
        &mut self,
        names: &[&'static str],
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let set = |name: &&'static str| {
            self.variables.get(*name).filter(|value| !value.is_empty()).map(|value| (*name, value.as_str()))
        };
        let (variable, value) = names.iter().find_map(set)?;
        let note = |reason| Mistake { variable, value: value.chars().take(300).collect(), reason };
        match parse(value) {
            Ok(parsed) => Some(parsed),
            Err(reason) => {
                self.mistakes.push(note(reason));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(variables: &[(&str, &str)]) -> Result<Environment, InvalidEnvironment> {
        let map = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Environment::parse(&map)
    }

    #[test]
    fn the_newest_name_of_the_workload_counts_in_both_spellings() {
        let arn = ("APPMESH_RESOURCE_ARN", "arn:aws:appmesh:us-east-1:000000000000:mesh/m/virtualNode/a");
        let old = ("APPMESH_VIRTUAL_NODE_NAME", "mesh/m/virtualNode/b");
        let workload = |variables: &[_]| parse(variables).unwrap().workload.map(|found| found.to_string());
        assert_eq!(workload(&[arn, old]).as_deref(), Some("mesh/m/virtualNode/a"));
        assert_eq!(workload(&[("APPMESH_RESOURCE_ARN", ""), old]).as_deref(), Some("mesh/m/virtualNode/b"));
        assert_eq!(workload(&[]), None);
    }

    #[test]
    fn what_a_task_definition_sets_is_read() {
        let environment = parse(&[
            ("APPMESH_RESOURCE_NAME", "mesh/m/virtualNode/a"),
            ("APPMESH_RESOURCE_CLUSTER", "shop"),
            ("APPMESH_XDS_ENDPOINT", "signet.example.com:7443"),
            ("APPMESH_SDS_SOCKET_PATH", "/run/signet/agent.sock"),
            ("ENVOY_LOG_LEVEL", "warn"),
            ("ENVOY_ADMIN_ACCESS_PORT", "9902"),
            ("ENVOY_CONCURRENCY", "2"),
            ("ENVOY_INITIAL_FETCH_TIMEOUT", "30"),
            ("APPMESH_PREVIEW", "0"),
        ]);
        let expected = Environment {
            workload: Some(Workload::virtual_node("m", "a").unwrap()),
            cluster: Some("shop".to_owned()),
            server: Some("signet.example.com:7443".parse().unwrap()),
            sds_socket: Some("/run/signet/agent.sock".to_owned()),
            log_level: Some(LogLevel::Warning),
            admin_port: Some(9902),
            concurrency: Some(2),
            initial_fetch_timeout: Some(Duration::from_secs(30)),
            tracer: None,
        };
        assert_eq!(environment, Ok(expected));
        assert_eq!(parse(&[("ENVOY_LOG_LEVEL", "loud")]).unwrap().log_level, Some(LogLevel::Info));
    }

    #[test]
    fn every_mistake_is_reported_at_once_with_variable_and_value() {
        let mistakes = parse(&[
            ("APPMESH_RESOURCE_ARN", "mesh/m/virtualRouter/r"),
            ("APPMESH_XDS_ENDPOINT", "unix:///tmp/relay.sock"),
            ("ENVOY_ADMIN_ACCESS_PORT", "99999"),
            ("ENVOY_CONCURRENCY", "-1"),
            ("ENVOY_INITIAL_FETCH_TIMEOUT", "soon"),
        ])
        .unwrap_err();
        let variables: Vec<_> = mistakes.0.iter().map(|mistake| mistake.variable).collect();
        assert_eq!(
            variables,
            [
                "APPMESH_RESOURCE_ARN",
                "APPMESH_XDS_ENDPOINT",
                "ENVOY_ADMIN_ACCESS_PORT",
                "ENVOY_CONCURRENCY",
                "ENVOY_INITIAL_FETCH_TIMEOUT"
            ]
        );
        assert!(mistakes.to_string().contains("ENVOY_ADMIN_ACCESS_PORT=\"99999\": a port is wanted"));
    }
}
