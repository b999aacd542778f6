//! Longshore's pages as HTML: complete without scripts, without inline styles, for narrow and wide
//! screens, light and dark.
//!
//! The pages show the structs that the command line prints as JSON. Nothing here reads or writes a
//! file or a connection.
//!
//! | module | contents |
//! | --- | --- |
//! | [`overview`] | the first page: problems, series and destinations, jobs, WAL |
//! | [`series`] | a series: its calendar, growth, and each backup with the reasons of retention |
//! | [`runs`], [`drills`] | run reports, and records of drills |
//! | [`policies`], [`destinations`] | retention policies with a simulation; destinations |
//! | [`live`] | the tasks in progress |
//! | [`wal`] | archived WAL: windows, gaps, receivers |
//! | [`login`] | the form for a token, and messages |
//! | `layout`, `table` | the parts that all pages share |
//! | `drawing`, `text` | drawings as SVG; times, sizes and links as text |

pub mod destinations;
mod drawing;
pub mod drills;
mod layout;
pub mod live;
pub mod login;
pub mod overview;
pub mod policies;
pub mod runs;
pub mod series;
mod table;
mod text;
pub mod wal;

use chrono::{DateTime, Utc};
use longshore_config::Config;
use longshore_engine::overview::Overview;
use longshore_engine::status::Issue;

use crate::live::Task;
use crate::wal::Receiver;

/// The style sheet, for `/assets/style.css`.
pub const STYLE: &str = include_str!("../assets/style.css");
/// The only script, for `/assets/live.js`.
pub const SCRIPT: &str = include_str!("../assets/live.js");
/// The icon, for `/assets/icon.svg`.
pub const ICON: &str = include_str!("../assets/icon.svg");

/// The content of a page.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The state of the destinations, once they were read.
    pub overview: Option<&'a Overview>,
    /// The configuration.
    pub config: &'a Config,
    /// The time of the page.
    pub now: DateTime<Utc>,
    /// Problems of the service itself.
    pub banners: &'a [String],
    /// The tasks in progress.
    pub tasks: &'a [Task],
    /// The problems that the service itself found, which the state may not contain yet.
    pub issues: &'a [Issue],
    /// The receivers of WAL that the service starts.
    pub receivers: &'a [Receiver],
    /// The activities of the service.
    pub activity: Activity,
    /// The version of Longshore.
    pub version: &'a str,
}

/// The activities of the service that shows the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// The service only shows state.
    View,
    /// The service runs jobs by their schedule.
    Schedule,
    /// The service also runs jobs on request.
    Run,
}

/// Renders a template.
fn render(template: &impl askama::Template) -> String {
    // Only a formatter fails, and a string accepts everything.
    template.render().unwrap_or_else(|error| format!("the page cannot be rendered: {error}"))
}
