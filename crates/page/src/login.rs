//! The form for a token, and pages with a message.

use askama::Template;

use crate::layout::Layout;
use crate::render;
use crate::table::{self, Section};

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    layout: Layout<'a>,
    is_wrong: bool,
}

/// The reason for a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No token was sent.
    Missing,
    /// The token is not known.
    Wrong,
}

/// Renders the form for a token.
pub fn login(reason: Reason, version: &str) -> String {
    render(&LoginPage { layout: Layout::closed("Sign in", version), is_wrong: reason == Reason::Wrong })
}

/// Renders a page with a message, such as an error. It shows no state.
pub fn message(title: &str, text: &str, version: &str) -> String {
    table::page(Layout::closed(title, version), vec![Section::default().line("quiet", text)])
}
