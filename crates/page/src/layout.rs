//! The parts around the content of every page.

use crate::text::{Stamp, shown};
use crate::{Context, STYLE};

/// The entries of the navigation.
const LINKS: [(&str, &str); 6] = [
    ("/", "Longshore"),
    ("/runs", "Runs"),
    ("/drills", "Drills"),
    ("/wal", "WAL"),
    ("/policies", "Retention"),
    ("/destinations", "Destinations"),
];

/// The parts around the content of a page.
pub(crate) struct Layout<'a> {
    pub(crate) title: String,
    /// The entry of the navigation that the page belongs to.
    current: &'static str,
    pub(crate) banners: Vec<String>,
    pub(crate) read: Option<Stamp>,
    pub(crate) version: &'a str,
    /// True if the page shows tasks in progress.
    pub(crate) is_live: bool,
    /// The style sheet within the page, for a file without a service.
    pub(crate) style: Option<&'static str>,
}

/// An entry of the navigation.
pub(crate) struct Link {
    pub(crate) href: &'static str,
    pub(crate) text: &'static str,
    pub(crate) is_current: bool,
}

impl<'a> Layout<'a> {
    pub(crate) fn new(context: &Context<'a>, title: impl Into<String>, current: &'static str) -> Self {
        Self {
            title: shown(&title.into()),
            current,
            banners: context.banners.iter().map(|banner| shown(banner)).collect(),
            read: context.overview.map(|overview| overview.status.time.into()),
            version: context.version,
            is_live: false,
            style: None,
        }
    }

    /// Returns the layout of a file that is complete in itself, without links and scripts.
    pub(crate) fn file(title: &str, version: &'a str) -> Self {
        Self { style: Some(STYLE), ..Self::closed(title, version) }
    }

    pub(crate) fn live(self) -> Self {
        Self { is_live: true, ..self }
    }

    /// Returns the layout of a page for visitors without a token, which shows no state.
    pub(crate) fn closed(title: &str, version: &'a str) -> Self {
        Self {
            title: shown(title),
            current: "none",
            banners: Vec::new(),
            read: None,
            version,
            is_live: false,
            style: None,
        }
    }

    pub(crate) fn links(&self) -> Vec<Link> {
        let shown = LINKS.iter().filter(|_| self.current != "none");
        shown.map(|(href, text)| Link { href, text, is_current: *href == self.current }).collect()
    }
}
