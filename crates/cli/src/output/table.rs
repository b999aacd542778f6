//! Tables that fit the terminal: optional columns are omitted, and the last column is wrapped, so
//! that no line is wider than the terminal.

use std::borrow::Cow;
use std::iter::repeat_n;

use anstyle::Style;
use longshore_core::error::printable;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::colour::{HEADING, state_style};

/// The spaces between two columns.
const GAP: usize = 2;
/// The minimum width of a text column.
const MIN_COLUMN_WIDTH: usize = 12;

/// A column, described by its heading: the prefix `>` marks a column of numbers, aligned to the
/// right, `?` an optional column.
struct Column {
    /// The index of its cells in the rows.
    index: usize,
    heading: String,
    numbers: bool,
    optional: bool,
    width: usize,
}

/// Renders rows under headings, in lines of at most `width` columns.
pub(super) fn render(headings: &[&str], rows: &[Vec<String>], width: Option<usize>) -> String {
    let mut columns: Vec<Column> = headings.iter().enumerate().map(|(index, heading)| column(index, heading)).collect();
    let rows: Vec<Vec<Cow<'_, str>>> =
        rows.iter().map(|row| row.iter().map(|cell| printable_cell(cell)).collect()).collect();
    for column in &mut columns {
        let cells = rows.iter().filter_map(|row| row.get(column.index)).map(|cell| cell.width());
        column.width = cells.chain([column.heading.width()]).max().unwrap_or(0);
    }
    if let Some(width) = width {
        fit(&mut columns, width);
    }
    let mut text = String::new();
    let headings: Vec<Cow<'_, str>> = columns.iter().map(|column| column.heading.as_str().into()).collect();
    line(&mut text, &columns, &headings, |_, _| Some(HEADING));
    for row in &rows {
        let cells: Vec<_> = columns.iter().map(|column| row.get(column.index).cloned().unwrap_or_default()).collect();
        line(&mut text, &columns, &cells, state_style);
    }
    text
}

fn column(index: usize, heading: &str) -> Column {
    let text = heading.trim_start_matches(['>', '?']);
    let flags = &heading[..heading.len() - text.len()];
    let (numbers, optional) = (flags.contains('>'), flags.contains('?'));
    Column { index, heading: text.to_owned(), numbers, optional, width: 0 }
}

/// Fits the columns into `width`: drops optional columns from the right, then narrows the last
/// column, then the widest ones.
fn fit(columns: &mut Vec<Column>, width: usize) {
    let total = |columns: &[Column]| {
        columns.iter().map(|column| column.width).sum::<usize>() + GAP * columns.len().saturating_sub(1)
    };
    // Text in the last column can be wrapped, so it does not drop optional columns.
    let wrapped = |columns: &[Column]| {
        let last = columns.last().filter(|last| !last.numbers);
        last.map_or(0, |last| last.width.saturating_sub(MIN_COLUMN_WIDTH * 2))
    };
    while total(columns) - wrapped(columns) > width
        && let Some(index) = columns.iter().rposition(|column| column.optional)
    {
        columns.remove(index);
    }
    let shrink = |columns: &mut Vec<Column>, index: usize, narrowest: usize| {
        let excess = total(columns).saturating_sub(width);
        let column = &mut columns[index];
        column.width = column.width.saturating_sub(excess).max(narrowest.min(column.width));
    };
    if columns.last().is_some_and(|last| !last.numbers) {
        let last = columns.len() - 1;
        shrink(columns, last, MIN_COLUMN_WIDTH * 2);
    }
    for _ in 0..columns.len() {
        let texts = columns.iter().enumerate().filter(|(_, column)| !column.numbers);
        match texts.max_by_key(|(_, column)| column.width).map(|(index, _)| index) {
            Some(widest) if total(columns) > width => shrink(columns, widest, MIN_COLUMN_WIDTH),
            _ => break,
        }
    }
}

/// Adds one row, of several lines if its last cell is wrapped.
fn line(text: &mut String, columns: &[Column], cells: &[Cow<'_, str>], style: impl Fn(&str, &str) -> Option<Style>) {
    let last = columns.len().saturating_sub(1);
    let wrapped = match (columns.last(), cells.last()) {
        (Some(column), Some(cell)) if !column.numbers => wrap(cell, column.width),
        _ => Vec::new(),
    };
    for number in 0..wrapped.len().max(1) {
        let mut blanks = 0;
        for (index, (column, cell)) in columns.iter().zip(cells).enumerate() {
            let cell: Cow<'_, str> = match (number, wrapped.get(number)) {
                (_, Some(part)) if index == last => part.as_str().into(),
                (0, _) => shortened(cell, column.width),
                _ => "".into(),
            };
            let padding = column.width.saturating_sub(cell.width());
            blanks += if column.numbers { padding } else { 0 };
            if !cell.is_empty() {
                text.extend(repeat_n(' ', blanks));
                match style(&column.heading, &cell) {
                    Some(style) => *text += &format!("{style}{cell}{style:#}"),
                    None => *text += &cell,
                }
                blanks = 0;
            }
            blanks += GAP + if column.numbers { 0 } else { padding };
        }
        text.push('\n');
    }
}

/// Wraps text at spaces into lines of at most `width` columns; longer words are cut.
fn wrap(text: &str, width: usize) -> Vec<String> {
    if text.width() <= width {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let wide = word.width();
        if used > 0 && used + 1 + wide > width {
            lines.push(String::new());
            used = 0;
        }
        if used > 0 {
            lines.last_mut().into_iter().for_each(|line| line.push(' '));
            used += 1;
        }
        for char in word.chars() {
            let wide = char.width().unwrap_or(0);
            if used + wide > width {
                lines.push(String::new());
                used = 0;
            }
            lines.last_mut().into_iter().for_each(|line| line.push(char));
            used += wide;
        }
    }
    lines
}

/// Shortens a cell to `width` columns. Keeps both ends, since names differ at either end.
fn shortened(cell: &str, width: usize) -> Cow<'_, str> {
    if cell.width() <= width {
        return cell.into();
    }
    let room = width.saturating_sub(1);
    let (mut head, mut tail) = (String::new(), String::new());
    let take = |text: &mut String, chars: &mut dyn Iterator<Item = char>, room: usize| {
        let mut used = 0;
        for char in chars {
            used += char.width().unwrap_or(0);
            if used > room {
                break;
            }
            text.push(char);
        }
    };
    take(&mut head, &mut cell.chars(), room / 3);
    take(&mut tail, &mut cell.chars().rev(), room - room / 3);
    format!("{head}…{}", tail.chars().rev().collect::<String>()).into()
}

/// Returns a printable cell; borrows it if it is plain ASCII.
fn printable_cell(cell: &str) -> Cow<'_, str> {
    let is_plain = cell.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_plain { cell.into() } else { printable(cell).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(headings: &[&str], rows: &[&[&str]], width: Option<usize>) -> Vec<String> {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect();
        let text = anstream::adapter::strip_str(&render(headings, &rows, width)).to_string();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn wide_terminal_shows_all_columns() {
        let lines = plain(&["NAME", ">SIZE", "?WHERE"], &[&["main/app", "1 MiB", "disk"], &["b", "12 MiB", ""]], None);
        assert_eq!(lines, ["NAME        SIZE  WHERE", "main/app   1 MiB  disk", "b         12 MiB"]);
    }

    #[test]
    fn narrow_terminal_drops_optional_columns_from_the_right() {
        let (headings, row) =
            (["NAME", "?>AGE", ">SIZE", "?DUMP VERIFIED", "DESTINATIONS"], ["x".repeat(40), "3 days".to_owned()]);
        let row = [row[0].as_str(), row[1].as_str(), "1.00 GiB", "toc, rows, digest", "local, offsite"];
        let wide = plain(&headings, &[&row], Some(200));
        let narrow = plain(&headings, &[&row], Some(80));
        assert!(wide[0].contains("VERIFIED") && !narrow[0].contains("VERIFIED"), "{narrow:?}");
        assert!(narrow[0].contains("AGE") && narrow[1].ends_with("local, offsite"), "{narrow:?}");
    }

    #[test]
    fn lines_fit_the_terminal() {
        let long = "the newest backup is 3 days old, max_age is 26 h: check how the job ended in its last run";
        let name = "main/a_database_with_a_long_name/a_database_with_a_long_name-2026-06-07_091500";
        let rows: &[&[&str]] =
            &[&["CRITICAL", name, "offsite", long], &["warning", "日本語のデータベース", "x", "kurz"]];
        for width in [40, 60, 80, 100] {
            let lines = plain(&["STATE", "SERIES", "?DESTINATION", "PROBLEM"], rows, Some(width));
            assert!(lines.iter().all(|line| line.width() <= width), "{width}: {lines:#?}");
            let words: String = lines.concat().split_whitespace().collect();
            assert!(words.contains("lastrun"), "the last column is complete: {lines:#?}");
        }
    }

    #[test]
    fn shortened_name_keeps_both_ends() {
        assert_eq!(shortened("main/appdb/appdb-2026-06-07_091500", 22), "main/ap…6-06-07_091500");
        assert_eq!(shortened("short", 22), "short");
    }
}
