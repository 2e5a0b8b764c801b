//! Cairn's server: where repositories live, who may do what with them, and the URLs under which that is asked.
//!
//! Arrows go one way: `smart_http`, `rest` → `ops` → `auth` → `store`. Only `store` names SQLite.

pub mod app;
pub mod auth;
pub mod boot;
pub mod budget;
pub mod cli;
pub mod clock;
pub mod config;
pub mod deadline;
pub mod descriptors;
pub mod edge;
pub mod error;
pub mod jobs;
pub mod limits;
pub mod linger;
pub mod listen;
pub mod metrics;
pub mod names;
pub mod ops;
pub mod patience;
pub mod peer;
pub mod process;
pub mod random;
pub mod rate;
pub mod rest;
pub mod router;
pub mod seats;
pub mod smart_http;
pub mod stop;
pub mod store;
pub mod streams;
pub mod tls;
pub mod trace;
