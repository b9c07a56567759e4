//! Every suite over a whole mesh, in one binary so that it links once.

mod api;
mod apply;
mod backup;
mod certificates;
mod clients;
mod command_line;
mod conformance;
mod coverage;
mod crash;
mod credentials;
mod discovery;
mod full_disk;
mod joining;
mod modes;
mod nodes;
mod proxies;
mod recovery;
mod rejection;
mod retries;
mod rotation;
mod routes;
mod sealing;
mod spec;
mod strangers;
mod streams;
mod verdicts;
