//! Longshore as a service: pages and JSON over HTTP, refreshed from the destinations, and jobs by
//! their schedules, each as a child process.
//!
//! The service keeps no state of its own: the run reports and the destinations have everything.
//!
//! | module | contents |
//! | --- | --- |
//! | `service` | the loop: refreshing, scheduling, reloading, stopping |
//! | `options` | the parts that the command line provides |
//! | `planner` | the scheduled tasks that are due |
//! | `child` | one task as a child process |
//! | `receivers` | the receivers of WAL as child processes |
//! | [`progress`] | the events of a task, as lines of JSON |
//! | `state` | the state that requests read |
//! | `routes`, `api` | the pages, and their twins as JSON |
//! | `guard` | the rules for every request: hosts, origins, rates, headers |
//! | `access` | tokens, users, roles and sessions |
//! | `listener`, `tls` | sockets, limits of connections, certificates |

mod access;
mod api;
mod child;
mod guard;
mod listener;
mod options;
mod planner;
pub mod progress;
mod receivers;
mod routes;
mod service;
mod state;
mod tls;

pub use self::options::{Options, Program};
pub use self::service::serve;
