//! Messages with maps, whose entries stay in the order in which they are given.
//!
//! Envoy's own have hash maps, whose encoding differs from one process to the next; on the wire a map is a list of
//! pairs, and a list is what these have.

use prost::Message;

use crate::pb::google::protobuf::{Any, Value, value::Kind};

/// `envoy.extensions.access_loggers.file.v3.FileAccessLog`, in JSON.
#[derive(Clone, PartialEq, Message)]
struct FileAccessLog {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(message, optional, tag = "5")]
    log_format: Option<SubstitutionFormat>,
}

/// `envoy.config.core.v3.SubstitutionFormatString`.
#[derive(Clone, PartialEq, Message)]
struct SubstitutionFormat {
    #[prost(message, optional, tag = "2")]
    json_format: Option<Struct>,
}

/// `google.protobuf.Struct`.
#[derive(Clone, PartialEq, Message)]
struct Struct {
    #[prost(message, repeated, tag = "1")]
    fields: Vec<Field>,
}

/// An entry of a map.
#[derive(Clone, PartialEq, Message)]
struct Field {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Value>,
}

/// A `FileAccessLog` that writes one JSON object a line; members are keys and texts with Envoy's command operators.
#[must_use]
pub fn json_file_access_log<'a>(path: &str, members: impl IntoIterator<Item = (&'a str, &'a str)>) -> Any {
    let field = |(key, text): (&str, &str)| Field {
        key: key.to_owned(),
        value: Some(Value { kind: Some(Kind::StringValue(text.to_owned())) }),
    };
    let fields = members.into_iter().map(field).collect();
    let log_format = Some(SubstitutionFormat { json_format: Some(Struct { fields }) });
    Any {
        type_url: "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog".to_owned(),
        value: FileAccessLog { path: path.to_owned(), log_format }.encode_to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{
        envoy::{
            config::core::v3::substitution_format_string::Format,
            extensions::access_loggers::file::v3::{self as envoy, file_access_log::AccessLogFormat},
        },
        pack,
    };

    #[test]
    fn envoys_own_message_reads_what_was_written_and_the_order_is_the_callers() {
        let members = [("z", "%PROTOCOL%"), ("a", "%REQ(:PATH)%"), ("m", "-")];
        let any = json_file_access_log("/dev/stdout", members);
        let log = envoy::FileAccessLog::decode(&*any.value).unwrap();
        assert_eq!((log.path.as_str(), &any.type_url), ("/dev/stdout", &pack(&log).type_url));
        let Some(AccessLogFormat::LogFormat(format)) = log.access_log_format else { panic!("{log:?}") };
        let Some(Format::JsonFormat(object)) = format.format else { panic!("{format:?}") };
        for (key, text) in members {
            assert_eq!(object.fields[key].kind, Some(Kind::StringValue(text.into())));
        }
        let text = String::from_utf8_lossy(&any.value).into_owned();
        let places: Vec<_> = members.iter().map(|(_, value)| text.find(value)).collect();
        assert!(places.is_sorted() && places.iter().all(Option::is_some), "{places:?}");
        assert_eq!(any, json_file_access_log("/dev/stdout", members));
    }
}
