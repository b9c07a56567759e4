//! The node side of Signet: joins, serves SDS and runs Envoy
