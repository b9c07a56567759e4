//! Access logs: where every request, and every TCP connection, of a proxy is written down.

use signet_xds::{
    ordered::json_file_access_log,
    pb::{
        envoy::{
            config::{
                accesslog::v3::{self as envoy, access_log::ConfigType},
                core::v3::{
                    DataSource, SubstitutionFormatString, data_source::Specifier,
                    substitution_format_string::Format,
                },
            },
            extensions::access_loggers::file::v3::{FileAccessLog, file_access_log::AccessLogFormat},
        },
        google::protobuf::Any,
        pack,
    },
};

use crate::model::{AccessLog, LogFormat};

/// The log that a spec asks for, on every filter that can have one; none where it asks for none.
pub(super) fn of(asked: Option<&AccessLog>) -> Vec<envoy::AccessLog> {
    let log = |AccessLog { path, format }: &AccessLog| envoy::AccessLog {
        name: "envoy.access_loggers.file".to_owned(),
        config_type: Some(ConfigType::TypedConfig(match format {
            None => lines(path, None),
            Some(LogFormat::Text(text)) => lines(path, Some(text)),
            Some(LogFormat::Json(members)) => {
                let members = members.iter().map(|(key, value)| (key.as_str(), value.as_str()));
                json_file_access_log(path, members)
            }
        })),
        ..Default::default()
    };
    asked.map(log).into_iter().collect()
}

/// In a format of the user's, who ends the line as they like, or in Envoy's own.
fn lines(path: &str, format: Option<&str>) -> Any {
    let format = format.map(|text| {
        let source = Specifier::InlineString(text.to_owned());
        AccessLogFormat::LogFormat(SubstitutionFormatString {
            format: Some(Format::TextFormatSource(DataSource {
                specifier: Some(source),
                ..Default::default()
            })),
            ..Default::default()
        })
    });
    pack(&FileAccessLog { path: path.to_owned(), access_log_format: format })
}
