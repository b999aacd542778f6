//! Programs of the protocol to begin with, in several languages.

/// The language of a skeleton.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Bash.
    Shell,
    /// Python 3, with its standard library alone.
    Python,
}

/// Returns the text of a program that implements all roles of a folder, and introduces itself as
/// `name`.
pub fn text(language: Language, name: &str) -> String {
    let text = match language {
        Language::Shell => include_str!("skeleton/skeleton.sh"),
        Language::Python => include_str!("skeleton/skeleton.py"),
    };
    text.replace("NAME", name)
}
