//! Tables that fit the terminal: columns are omitted by priority, then shortened, and sentences
//! continue on further lines, so that no line is wider than the terminal.
//!
//! Without a terminal, as in a pipe or a file, the width is unlimited and every column is complete.

use std::iter::repeat_n;

use anstyle::Style;
use longshore_core::error::printable;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::colour::HEADING;
use super::state::State;

/// The spaces between two columns.
const GAP: usize = 2;
/// The usual minimum width of a column of texts.
const MIN_TEXT: usize = 12;
/// The usual minimum width of a column of sentences.
const MIN_SENTENCE: usize = 24;
/// The minimum width of texts if nothing is left to omit, and of any column.
const MIN_NARROW: usize = 4;
const MIN_ANY: usize = 2;

/// A table for people.
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// A column of a table.
pub(crate) struct Column {
    heading: String,
    content: Content,
    min: usize,
    priority: Priority,
    omission: Omission,
}

/// The content of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// Names, shortened in the middle, since names differ at either end.
    Texts,
    /// Sentences and lists, continued on further lines.
    Sentences,
    /// Times and states, never shortened while another column can be.
    Fixed,
    /// Numbers, aligned to the right, and not shortened either.
    Numbers,
}

/// The priority of a column. A narrow terminal omits the last columns of the lowest priority first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    /// Never omitted.
    Required,
    High,
    Medium,
    Low,
    Lowest,
}

/// The condition for omitting a column at any width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Omission {
    Never,
    /// All cells are blank or `-`.
    Blank,
    /// All cells are equal.
    Uniform,
}

impl Column {
    /// Creates a column of names.
    pub(crate) fn text(heading: impl Into<String>) -> Self {
        Self::new(heading, Content::Texts, MIN_TEXT)
    }

    /// Creates a column of sentences or lists.
    pub(crate) fn sentence(heading: impl Into<String>) -> Self {
        Self::new(heading, Content::Sentences, MIN_SENTENCE)
    }

    /// Creates a column of times or states.
    pub(crate) fn fixed(heading: impl Into<String>) -> Self {
        Self::new(heading, Content::Fixed, usize::MAX)
    }

    /// Creates a column of numbers.
    pub(crate) fn number(heading: impl Into<String>) -> Self {
        Self::new(heading, Content::Numbers, usize::MAX)
    }

    fn new(heading: impl Into<String>, content: Content, min: usize) -> Self {
        let heading = printable(&heading.into());
        Self { heading, content, min, priority: Priority::Required, omission: Omission::Never }
    }

    /// Sets the width below which the column is not shortened while another can be omitted.
    pub(crate) fn min(self, min: usize) -> Self {
        Self { min, ..self }
    }

    /// Sets the priority.
    pub(crate) fn priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// Omits the column if all cells are blank or `-`.
    pub(crate) fn unless_blank(self) -> Self {
        Self { omission: Omission::Blank, ..self }
    }

    /// Omits the column if all cells are equal.
    pub(crate) fn unless_uniform(self) -> Self {
        Self { omission: Omission::Uniform, ..self }
    }
}

/// A cell of a table: text, parts of which have the colour of a state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cell(Vec<(String, Option<Style>)>);

impl Cell {
    /// Creates a text in the colour of a state.
    pub(crate) fn coloured(state: State, text: &str) -> Self {
        Self(vec![(printable(text), Some(state.style()))])
    }

    /// Joins cells with commas.
    pub(crate) fn list(cells: impl IntoIterator<Item = Cell>) -> Self {
        let mut parts = Vec::new();
        for cell in cells {
            if !parts.is_empty() {
                parts.push((", ".to_owned(), None));
            }
            parts.extend(cell.0);
        }
        Self(parts)
    }

    /// Appends a text or a state.
    pub(crate) fn and(mut self, other: impl Into<Cell>) -> Self {
        self.0.extend(other.into().0);
        self
    }

    fn is_blank(&self) -> bool {
        self.0.iter().all(|(text, _)| text.is_empty() || text == "-")
    }

    fn glyphs(&self) -> Vec<Glyph<'_>> {
        self.0.iter().flat_map(|(text, style)| glyphs(text, *style)).collect()
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self(vec![(printable(text), None)])
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<State> for Cell {
    fn from(state: State) -> Self {
        Self::coloured(state, state.word())
    }
}

/// A character with its combining characters, as a terminal shows it.
#[derive(Debug, Clone, Copy)]
struct Glyph<'a> {
    text: &'a str,
    /// The number of columns on a terminal.
    width: usize,
    style: Option<Style>,
}

const SPACE: Glyph<'static> = Glyph { text: " ", width: 1, style: None };
const ELLIPSIS: Glyph<'static> = Glyph { text: "…", width: 1, style: None };

/// Splits a text into its glyphs.
fn glyphs(text: &str, style: Option<Style>) -> Vec<Glyph<'_>> {
    let is_start = |char: char| char.width().unwrap_or(0) > 0;
    let starts = text.char_indices().filter(|(at, char)| *at == 0 || is_start(*char)).map(|(at, _)| at);
    let ends = starts.clone().skip(1).chain([text.len()]);
    let parts = starts.zip(ends).map(|(start, end)| &text[start..end]);
    parts.map(|text| Glyph { text, width: text.width(), style }).collect()
}

fn total_width(line: &[Glyph<'_>]) -> usize {
    line.iter().map(|glyph| glyph.width).sum()
}

/// A column with its width on the terminal.
struct FittedColumn {
    /// The index of its cells in the rows.
    index: usize,
    content: Content,
    min: usize,
    priority: Priority,
    width: usize,
}

impl Table {
    /// Creates a table without rows.
    pub(crate) fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds rows, with a cell for each column.
    pub(crate) fn rows(mut self, rows: impl IntoIterator<Item = Vec<Cell>>) -> Self {
        self.rows.extend(rows);
        self
    }

    /// Renders the table in lines of at most `width` columns.
    pub(super) fn render(&self, width: Option<usize>) -> String {
        let cells: Vec<Vec<Vec<Glyph<'_>>>> =
            self.rows.iter().map(|row| row.iter().map(Cell::glyphs).collect()).collect();
        let headings: Vec<_> = self.columns.iter().map(|column| glyphs(&column.heading, Some(HEADING))).collect();
        let mut columns: Vec<FittedColumn> = Vec::new();
        for (index, column) in self.columns.iter().enumerate().filter(|(index, _)| !self.omits(*index)) {
            let widths = cells.iter().filter_map(|row| row.get(index)).chain([&headings[index]]);
            let width = widths.map(|line| total_width(line)).max().unwrap_or(0);
            let (content, min, priority) = (column.content, column.min.min(width), column.priority);
            columns.push(FittedColumn { index, content, min, priority, width });
        }
        if let Some(width) = width {
            fit(&mut columns, width);
        }
        let mut text = String::new();
        let headings = columns.iter().map(|column| vec![shortened(&headings[column.index], column.width)]);
        push_row(&mut text, &columns, &headings.collect::<Vec<_>>());
        for row in &cells {
            let fitted = columns.iter().map(|column| match (row.get(column.index), column.content) {
                (None, _) => Vec::new(),
                (Some(line), Content::Sentences) => folded(line, column.width),
                (Some(line), _) => vec![shortened(line, column.width)],
            });
            push_row(&mut text, &columns, &fitted.collect::<Vec<_>>());
        }
        text
    }

    fn omits(&self, index: usize) -> bool {
        let cells = || self.rows.iter().filter_map(|row| row.get(index));
        match self.columns[index].omission {
            Omission::Never => false,
            Omission::Blank => cells().all(Cell::is_blank),
            Omission::Uniform => cells().zip(cells().skip(1)).all(|(one, other)| one == other),
        }
    }
}

/// Fits the columns into `width`: omits columns by priority, then narrows sentences, then names,
/// and times, states and numbers only if nothing else is left.
fn fit(columns: &mut Vec<FittedColumn>, width: usize) {
    let gaps = |columns: &[FittedColumn]| GAP * columns.len().saturating_sub(1);
    while columns.iter().map(|column| column.min).sum::<usize>() + gaps(columns) > width
        && let Some(index) = least_important(columns)
    {
        columns.remove(index);
    }
    let room = width.saturating_sub(gaps(columns));
    let is_text = |column: &FittedColumn| matches!(column.content, Content::Texts | Content::Sentences);
    narrow(columns, room, |column| (column.content == Content::Sentences).then_some(column.min));
    narrow(columns, room, |column| is_text(column).then_some(column.min));
    narrow(columns, room, |column| is_text(column).then_some(MIN_NARROW));
    narrow(columns, room, |_| Some(MIN_ANY));
}

/// Returns the index of the last column of the lowest priority, unless all are required.
fn least_important(columns: &[FittedColumn]) -> Option<usize> {
    let optional = columns.iter().enumerate().filter(|(_, column)| column.priority > Priority::Required);
    optional.max_by_key(|(index, column)| (column.priority, *index)).map(|(index, _)| index)
}

/// Narrows the widest columns, each at most to its limit, until all fit into `room`.
fn narrow(columns: &mut [FittedColumn], room: usize, limit: impl Fn(&FittedColumn) -> Option<usize>) {
    let mut excess = columns.iter().map(|column| column.width).sum::<usize>().saturating_sub(room);
    while excess > 0 {
        let wide = columns.iter_mut().filter(|column| limit(column).is_some_and(|limit| column.width > limit));
        let Some(widest) = wide.max_by_key(|column| column.width) else { return };
        widest.width -= 1;
        excess -= 1;
    }
}

/// Adds one row, of as many lines as its longest cell.
fn push_row(text: &mut String, columns: &[FittedColumn], cells: &[Vec<Vec<Glyph<'_>>>]) {
    let height = cells.iter().map(Vec::len).max().unwrap_or(0).max(1);
    for number in 0..height {
        let mut blanks = 0;
        for (column, lines) in columns.iter().zip(cells) {
            let line = lines.get(number).map_or(&[][..], Vec::as_slice);
            let padding = column.width.saturating_sub(total_width(line));
            let is_number = column.content == Content::Numbers;
            blanks += if is_number { padding } else { 0 };
            if !line.is_empty() {
                text.extend(repeat_n(' ', blanks));
                push_line(text, line);
                blanks = 0;
            }
            blanks += GAP + if is_number { 0 } else { padding };
        }
        text.push('\n');
    }
}

/// Adds glyphs, those of one style together.
fn push_line(text: &mut String, line: &[Glyph<'_>]) {
    for part in line.chunk_by(|one, other| one.style == other.style) {
        let words = part.iter().map(|glyph| glyph.text);
        match part.first().and_then(|glyph| glyph.style) {
            Some(style) => *text += &format!("{style}{}{style:#}", words.collect::<String>()),
            None => text.extend(words),
        }
    }
}

/// Folds a line at spaces into lines of at most `width` columns; longer words are cut.
fn folded<'a>(line: &[Glyph<'a>], width: usize) -> Vec<Vec<Glyph<'a>>> {
    if total_width(line) <= width {
        return vec![line.to_vec()];
    }
    let mut lines = vec![Vec::new()];
    let mut used = 0;
    for word in line.split(|glyph| glyph.text == " ") {
        if used > 0 && used + 1 + total_width(word) > width {
            lines.push(Vec::new());
            used = 0;
        }
        let space = (used > 0).then_some(SPACE);
        for glyph in space.into_iter().chain(word.iter().copied()) {
            if used > 0 && used + glyph.width > width {
                lines.push(Vec::new());
                used = 0;
            }
            lines.last_mut().into_iter().for_each(|line| line.push(glyph));
            used += glyph.width;
        }
    }
    lines
}

/// Shortens a line to `width` columns. Keeps both ends, since names differ at either end.
fn shortened<'a>(line: &[Glyph<'a>], width: usize) -> Vec<Glyph<'a>> {
    if total_width(line) <= width {
        return line.to_vec();
    }
    let room = width.saturating_sub(ELLIPSIS.width);
    let head = fitting(line.iter(), room / 3);
    let left = room - total_width(&line[..head]);
    let tail = fitting(line[head..].iter().rev(), left);
    [&line[..head], &[ELLIPSIS][..], &line[line.len() - tail..]].concat()
}

/// Returns the number of the first glyphs that fit into `room`.
fn fitting<'a>(line: impl Iterator<Item = &'a Glyph<'a>>, room: usize) -> usize {
    let mut used = 0;
    let fits = line.take_while(|glyph| {
        used += glyph.width;
        used <= room
    });
    fits.count()
}

#[cfg(test)]
mod tests;
