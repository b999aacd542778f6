//! A manual page in roff, from its Markdown.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// The most characters of a table cell that is not wrapped.
const MAX_UNWRAPPED_CHARS: usize = 30;

/// Converts the Markdown of a manual page.
pub(super) fn render(name: &str, section: u8, markdown: &str) -> String {
    // The first line asks for tbl, the preprocessor of tables. Names are not hyphenated, and narrow
    // cells not justified.
    let (title, version) = (name.to_uppercase(), env!("CARGO_PKG_VERSION"));
    let out = format!("'\\\" t\n.TH \"{title}\" \"{section}\" \"\" \"longshore {version}\"\n.ad l\n.nh\n");
    let mut page = Page { out, ..Page::default() };
    Parser::new_ext(markdown, Options::ENABLE_TABLES).for_each(|event| page.event(event));
    page.out
}

/// A page under construction.
#[derive(Default)]
struct Page {
    out: String,
    /// The text of the current block, escaped.
    text: String,
    /// The lists around the current block, each with its next number, if it is numbered.
    lists: Vec<Option<u64>>,
    /// The marker of a list item whose text has not begun.
    marker: Option<String>,
    is_code: bool,
    /// The rows of the current table.
    rows: Vec<Vec<String>>,
    /// The address of the current link.
    link: Option<String>,
}

impl Page {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.is_code => self.out.push_str(&lines(&escaped(&text))),
            Event::Text(text) => self.text.push_str(&escaped(&text)),
            Event::Code(code) => self.text.push_str(&format!("\\fB{}\\fR", escaped(&code))),
            Event::SoftBreak | Event::HardBreak => self.text.push('\n'),
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Emphasis => self.text.push_str("\\fI"),
            Tag::Strong => self.text.push_str("\\fB"),
            Tag::CodeBlock(_) => {
                self.is_code = true;
                self.out.push_str(".PP\n.RS 4\n.nf\n");
            }
            Tag::List(first) => {
                self.paragraph();
                if !self.lists.is_empty() {
                    self.out.push_str(".RS 4\n");
                }
                self.lists.push(first);
            }
            Tag::Item => {
                self.marker = Some(match self.lists.last_mut() {
                    Some(Some(number)) => {
                        *number += 1;
                        format!(".IP {}. 4\n", *number - 1)
                    }
                    _ => ".IP \\(bu 2\n".to_owned(),
                });
            }
            Tag::Table(_) => self.rows.clear(),
            Tag::TableHead | Tag::TableRow => self.rows.push(Vec::new()),
            Tag::Link { dest_url, .. } => self.link = Some(dest_url.into_string()),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => {
                let text = std::mem::take(&mut self.text);
                let request = if level == HeadingLevel::H1 { ".SH" } else { ".SS" };
                self.out.push_str(&format!("{request} {text}\n"));
            }
            TagEnd::Paragraph | TagEnd::Item => self.paragraph(),
            TagEnd::CodeBlock => {
                self.is_code = false;
                self.out.push_str(".fi\n.RE\n");
            }
            TagEnd::List(_) => {
                self.lists.pop();
                if !self.lists.is_empty() {
                    self.out.push_str(".RE\n");
                }
            }
            TagEnd::Emphasis | TagEnd::Strong => self.text.push_str("\\fR"),
            TagEnd::Link => {
                // Links between pages name the page in their text.
                if let Some(url) = self.link.take().filter(|url| url.starts_with("http")) {
                    self.text.push_str(&format!(" ({})", escaped(&url)));
                }
            }
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.text);
                self.rows.last_mut().into_iter().for_each(|row| row.push(cell.clone()));
            }
            TagEnd::Table => self.table(),
            _ => {}
        }
    }

    /// Ends a paragraph, or the text of a list item.
    fn paragraph(&mut self) {
        let text = std::mem::take(&mut self.text);
        if text.is_empty() {
            return;
        }
        let begins = self.marker.take().unwrap_or_else(|| match self.lists.is_empty() {
            true => ".PP\n".to_owned(),
            false => ".IP\n".to_owned(),
        });
        self.out.push_str(&begins);
        self.out.push_str(&lines(&text));
        self.out.push('\n');
    }

    /// Writes a table for tbl. The last column takes the rest of the line.
    fn table(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        let columns = rows.first().map_or(0, Vec::len);
        let format = |font: &str| format!("{} l{font}x", vec![format!("l{font}"); columns.saturating_sub(1)].join(" "));
        self.out.push_str(&format!(".PP\n.TS\n{}\n{}.\n", format("B"), format("")));
        for row in rows {
            let last = row.len().saturating_sub(1);
            let cell =
                |(index, cell): (usize, &String)| match index < last && cell.chars().count() <= MAX_UNWRAPPED_CHARS {
                    true => cell.clone(),
                    false => format!("T{{\n{}\nT}}", lines(cell)),
                };
            self.out.push_str(&row.iter().enumerate().map(cell).collect::<Vec<_>>().join("\t"));
            self.out.push('\n');
        }
        self.out.push_str(".TE\n");
    }
}

/// Escapes what roff reads as an escape or as a hyphen.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

/// Protects lines that begin as requests do.
fn lines(text: &str) -> String {
    let protected = text.split('\n').map(|line| match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line.to_owned(),
    });
    protected.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_markdown_with_tables() {
        let markdown = "# NAME\n\nx - y\n\n## Keys\n\n1. `a-b`\n2. see [z(7)](z.7.md)\n   - in *it*\n\n\
                        | key | value |\n|---|---|\n| `k` | .dot |\n\n```sh\n.hidden \\\n```\n";
        let page = render("x", 5, markdown);
        let body = page.split_once(".nh\n").unwrap().1;
        let expected = [
            ".SH NAME\n.PP\nx \\- y\n.SS Keys\n",
            ".IP 1. 4\n\\fBa\\-b\\fR\n.IP 2. 4\nsee z(7)\n.RS 4\n.IP \\(bu 2\nin \\fIit\\fR\n.RE\n",
            ".PP\n.TS\nlB lBx\nl lx.\nkey\tT{\nvalue\nT}\n\\fBk\\fR\tT{\n\\&.dot\nT}\n.TE\n",
            ".PP\n.RS 4\n.nf\n\\&.hidden \\e\n.fi\n.RE\n",
        ];
        assert_eq!(body, expected.concat());
    }
}
