use super::*;

fn rows(rows: &[&[&str]]) -> Vec<Vec<Cell>> {
    rows.iter().map(|row| row.iter().map(|cell| Cell::from(*cell)).collect()).collect()
}

fn plain(table: &Table, width: Option<usize>) -> Vec<String> {
    let text = anstream::adapter::strip_str(&table.render(width)).to_string();
    text.lines().map(str::to_owned).collect()
}

/// A table with names and sentences in wide and combining characters.
fn wide_table() -> Table {
    let columns = [
        Column::text("BACKUP").min(24),
        Column::fixed("TIME (UTC)"),
        Column::number("SIZE").priority(Priority::High),
        Column::fixed("RESULT"),
        Column::sentence("REASON"),
        Column::text("DESTINATIONS").priority(Priority::Low),
        Column::fixed("NAME").priority(Priority::Lowest),
    ];
    let accents = "cafe\u{301}_".repeat(9);
    Table::new(columns).rows(rows(&[
        &[
            "main/日本語のデータベース名が長い",
            "2026-06-07 09:15",
            "1.20 GiB",
            "kept",
            "newest, 毎日のバックアップ, 毎週のバックアップ",
            "disk, ディスク",
            "main/%E6%97%A5/%E6%97%A5-2026-06-07_091500",
        ],
        &[
            accents.as_str(),
            "2026-06-07 09:15",
            "812.00 MiB",
            "removed",
            "no ru\u{308}le ke\u{301}eps it, and max_total_size is reached",
            "disk",
            "main/c/c-2026-06-07_091500",
        ],
        &["main/❤\u{fe0f}❤\u{fe0f}한국어", "2026-06-07 09:15", "1 B", "kept", "held", "disk", "x"],
    ]))
}

#[test]
fn wide_terminal_shows_all_columns() {
    let columns = || [Column::text("NAME"), Column::number("SIZE"), Column::text("WHERE").priority(Priority::Low)];
    let table = Table::new(columns()).rows(rows(&[&["main/app", "1 MiB", "disk"], &["b", "12 MiB", ""]]));
    assert_eq!(plain(&table, None), ["NAME        SIZE  WHERE", "main/app   1 MiB  disk", "b         12 MiB"]);
}

#[test]
fn narrow_terminal_omits_columns_by_priority() {
    let columns = [
        Column::text("NAME").min(40),
        Column::number("AGE").priority(Priority::Medium),
        Column::number("SIZE"),
        Column::text("DUMP VERIFIED").priority(Priority::Medium).min(17),
        Column::sentence("DESTINATIONS"),
    ];
    let name = "x".repeat(40);
    let row: &[&str] = &[name.as_str(), "3 days", "1.00 GiB", "toc, rows, digest", "local, offsite"];
    let table = Table::new(columns).rows(rows(&[row]));
    let (wide, narrow) = (plain(&table, Some(200)), plain(&table, Some(80)));
    assert!(wide[0].contains("VERIFIED") && !narrow[0].contains("VERIFIED"), "{narrow:?}");
    assert!(narrow[0].contains("AGE") && narrow[1].ends_with("local, offsite"), "{narrow:?}");
    let narrower = plain(&table, Some(60));
    assert!(!narrower[0].contains("AGE") && narrower[0].contains("DESTINATIONS"), "{narrower:?}");
}

#[test]
fn lines_fit_the_terminal() {
    let long = "the newest backup is 3 days old, max_age is 26 h: check how the job ended in its last run";
    let name = "main/a_database_with_a_long_name/a_database_with_a_long_name-2026-06-07_091500";
    let columns = [
        Column::fixed("STATE"),
        Column::text("SERIES"),
        Column::text("DESTINATION").priority(Priority::Low),
        Column::sentence("PROBLEM"),
    ];
    let table = Table::new(columns)
        .rows(rows(&[&["critical", name, "offsite", long], &["warning", "日本語のデータベース", "x", "kurz"]]));
    for width in [40, 60, 80, 100] {
        let lines = plain(&table, Some(width));
        assert!(lines.iter().all(|line| line.width() <= width), "{width}: {lines:#?}");
        let words: String = lines.concat().split_whitespace().collect();
        assert!(words.contains("lastrun"), "the last column is complete: {lines:#?}");
    }
}

#[test]
fn wide_and_combining_characters_fit_the_terminal() {
    for width in [20, 40, 60, 80] {
        let lines = plain(&wide_table(), Some(width));
        assert!(lines.iter().all(|line| line.width() <= width), "{width}: {lines:#?}");
        // No combining character is separated from its letter.
        let combining = ['\u{301}', '\u{308}', '\u{fe0f}'];
        assert!(!lines.iter().any(|line| line.trim_start().starts_with(combining) || line.contains("…\u{301}")));
    }
    let lines = plain(&wide_table(), Some(80));
    assert!(lines[0].contains("TIME (UTC)") && !lines[0].contains("NAME"), "{lines:#?}");
    for line in lines.iter().filter(|line| line.contains("2026")) {
        let before = line.split("2026-06-07 09:15").next().unwrap();
        assert_eq!(before.width(), lines[0].split("TIME").next().unwrap().width(), "aligned: {lines:#?}");
    }
    assert!(plain(&wide_table(), Some(40)).concat().contains("2026-06-07 09:15"), "times are not shortened");
}

#[test]
fn unlimited_width_shortens_nothing() {
    let lines = plain(&wide_table(), None);
    assert_eq!(lines.len(), 4);
    assert!(lines[1].contains("main/日本語のデータベース名が長い") && !lines.concat().contains('…'), "{lines:#?}");
    assert!(lines[1].ends_with("2026-06-07_091500"), "{lines:#?}");
}

#[test]
fn blank_and_uniform_columns_are_omitted() {
    let columns = || {
        [
            Column::text("NAME"),
            Column::text("JOB").unless_uniform(),
            Column::number("HELD").unless_blank(),
            Column::number("DAMAGED").unless_blank(),
        ]
    };
    let few = Table::new(columns()).rows(rows(&[&["a", "nightly", "-", "-"], &["b", "nightly", "", "1"]]));
    assert_eq!(plain(&few, None)[0], "NAME  DAMAGED");
    let all = Table::new(columns()).rows(rows(&[&["a", "nightly", "2", "-"], &["b", "hourly", "-", "1"]]));
    assert_eq!(plain(&all, None)[0], "NAME  JOB      HELD  DAMAGED");
}

#[test]
fn only_the_state_of_a_cell_is_coloured() {
    let cell = Cell::list([Cell::from("disk"), Cell::from("nas ").and(State::Stale)]);
    let text = Table::new([Column::sentence("AT")]).rows([vec![cell.clone()]]).render(None);
    let style = State::Stale.style();
    assert!(text.ends_with(&format!("disk, nas {style}stale{style:#}\n")), "{text:?}");
    // The colour survives folding and shortening.
    let folded = Table::new([Column::sentence("AT")]).rows([vec![cell.clone()]]).render(Some(8));
    assert!(folded.contains(&format!("{style}stale{style:#}")), "{folded:?}");
    let shortened = Table::new([Column::text("AT")]).rows([vec![cell]]).render(Some(8));
    assert!(shortened.contains(&format!("di…{style}stale{style:#}")), "{shortened:?}");
}

#[test]
fn name_with_a_state_word_is_not_coloured() {
    let table = Table::new([Column::text("STATE")]).rows(rows(&[&["main/good/good-2026-06-07_091500"], &["damaged"]]));
    let text = table.render(None);
    assert!(text.ends_with("\nmain/good/good-2026-06-07_091500\ndamaged\n"), "{text:?}");
}

#[test]
fn names_cannot_control_the_terminal() {
    let table = Table::new([Column::text("NAME")]).rows(rows(&[&["a\u{1b}[31m\nb\u{202e}c"]]));
    assert_eq!(plain(&table, None)[1], "a\\u{1b}[31m\\nb\\u{202e}c");
}

#[test]
fn shortened_name_keeps_both_ends() {
    let short =
        |text, width| -> String { shortened(&glyphs(text, None), width).iter().map(|glyph| glyph.text).collect() };
    assert_eq!(short("main/appdb/appdb-2026-06-07_091500", 22), "main/ap…6-06-07_091500");
    assert_eq!(short("short", 22), "short");
    assert_eq!(short("日本語日本語", 8), "日…本語");
    assert_eq!(short("e\u{301}e\u{301}e\u{301}e\u{301}", 3), "…e\u{301}e\u{301}");
}
