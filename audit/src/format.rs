//! Reports as text.

mod csv;
mod json;
mod junit;
mod moment;
mod openmetrics;
mod sarif;
mod table;

pub use self::{
    csv::csv,
    json::{json, jsonl},
    junit::junit,
    moment::rfc3339,
    openmetrics::openmetrics,
    sarif::sarif,
    table::{explain, folded, list, table},
};
