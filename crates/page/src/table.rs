//! Pages that consist of sections with facts, drawings and tables.

use askama::Template;

use crate::layout::Layout;
use crate::render;
use crate::text::shown;

/// A page of sections.
#[derive(Template)]
#[template(path = "table.html")]
struct TablePage<'a> {
    layout: Layout<'a>,
    sections: Vec<Section>,
}

/// A section of a page.
#[derive(Default)]
pub(crate) struct Section {
    heading: String,
    lines: Vec<Line>,
    drawing: Option<String>,
    facts: Vec<(String, String)>,
    tables: Vec<Table>,
}

/// A line of text.
struct Line {
    class: &'static str,
    text: String,
}

/// A table with a caption.
pub(crate) struct Table {
    caption: String,
    headings: Vec<Heading>,
    rows: Vec<Vec<Cell>>,
    more: Option<String>,
}

/// The heading of a column.
struct Heading {
    text: &'static str,
    is_number: bool,
}

/// A cell of a table.
#[derive(Default)]
pub(crate) struct Cell {
    text: String,
    href: Option<String>,
    class: &'static str,
}

/// Renders a page of sections.
pub(crate) fn page(layout: Layout<'_>, sections: Vec<Section>) -> String {
    render(&TablePage { layout, sections })
}

impl Section {
    pub(crate) fn new(heading: impl Into<String>) -> Self {
        Self { heading: shown(&heading.into()), ..Self::default() }
    }

    /// Returns true if the section has nothing to show.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { heading, lines, drawing, facts, tables } = self;
        heading.is_empty() && lines.is_empty() && drawing.is_none() && facts.is_empty() && tables.is_empty()
    }

    /// Adds a line of a class: `quiet`, `ok` or `bad`.
    pub(crate) fn line(mut self, class: &'static str, text: &str) -> Self {
        if !text.is_empty() {
            self.lines.push(Line { class, text: shown(text) });
        }
        self
    }

    /// Adds a fact, unless the value is empty.
    pub(crate) fn fact(mut self, name: &str, value: impl AsRef<str>) -> Self {
        if !value.as_ref().is_empty() {
            self.facts.push((name.to_owned(), shown(value.as_ref())));
        }
        self
    }

    /// Sets the drawing, which is SVG with escaped texts.
    pub(crate) fn drawing(mut self, drawing: String) -> Self {
        self.drawing = Some(drawing);
        self
    }

    /// Adds a table, unless it is empty.
    pub(crate) fn table(mut self, table: Table) -> Self {
        if !table.rows.is_empty() {
            self.tables.push(table);
        }
        self
    }
}

impl Table {
    /// Creates a table. Headings that end with `#` are of columns of numbers.
    pub(crate) fn new(caption: impl Into<String>, headings: &[&'static str]) -> Self {
        let headings = headings
            .iter()
            .map(|heading| Heading { text: heading.trim_end_matches('#'), is_number: heading.ends_with('#') });
        Self { caption: caption.into(), headings: headings.collect(), rows: Vec::new(), more: None }
    }

    /// Adds rows, up to a limit; the number of the others is printed below.
    pub(crate) fn rows(mut self, rows: impl Iterator<Item = Vec<Cell>>, limit: usize) -> Self {
        let mut rows = rows.map(|mut row| {
            for (cell, heading) in row.iter_mut().zip(&self.headings) {
                if heading.is_number && cell.class.is_empty() {
                    cell.class = "n";
                }
            }
            row
        });
        let shown_rows: Vec<_> = rows.by_ref().take(limit).collect();
        let more = rows.count();
        self.rows = shown_rows;
        self.more = (more > 0).then(|| format!("And {more} more."));
        self
    }
}

impl Cell {
    /// Creates a cell with text.
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        Self { text: shown(text.as_ref()), ..Self::default() }
    }

    /// Creates a cell with text of a class.
    pub(crate) fn classed(class: &'static str, text: impl AsRef<str>) -> Self {
        Self { class, ..Self::new(text) }
    }

    /// Makes the text a link.
    pub(crate) fn link(self, href: String) -> Self {
        Self { href: Some(href), ..self }
    }
}
