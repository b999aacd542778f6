//! The lines of cron, in blocks that a later installation replaces whole.

use std::path::Path;

use longshore_core::{Error, Kind, Result, Stage};

/// A block of lines: those of one job of one configuration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a> {
    pub(super) job: &'a str,
    pub(super) config: &'a Path,
}

impl Block<'_> {
    fn begin(&self) -> String {
        format!("# BEGIN longshore schedule of job {} in {}", self.job, self.config.display())
    }

    fn end(&self) -> String {
        format!("# END longshore schedule of job {} in {}", self.job, self.config.display())
    }

    /// Replaces the block in a text by these lines, or removes it if there are none. Fails if the
    /// block has no end: the lines after it may be those of others.
    pub(super) fn replace(&self, text: &str, lines: &[String]) -> Result<String> {
        let mut kept = String::new();
        let mut is_within = false;
        for line in text.lines() {
            match line.trim_end() {
                line if line == self.begin() => is_within = true,
                line if line == self.end() && is_within => is_within = false,
                _ if is_within => {}
                line => {
                    kept.push_str(line);
                    kept.push('\n');
                }
            }
        }
        if is_within {
            let message = "begins a block of lines that has no end";
            return Err(Error::new(Stage::Config, Kind::Refused, self.begin(), message)
                .hint(format!("remove the line, or add this one after the last line of the block: {}", self.end())));
        }
        if !lines.is_empty() {
            kept.push_str(&format!("{}\n{}\n{}\n", self.begin(), lines.join("\n"), self.end()));
        }
        Ok(kept)
    }
}

/// Returns the jobs of a configuration that have a block in a text.
pub(super) fn jobs(text: &str, config: &Path) -> Vec<String> {
    let end = format!(" in {}", config.display());
    let begins = text.lines().filter_map(|line| line.trim_end().strip_prefix("# BEGIN longshore schedule of job "));
    begins.filter_map(|rest| rest.strip_suffix(&end)).map(str::to_owned).collect()
}

/// Quotes a word for the shell of cron, which ends a command at `%`.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/._-+@:,=".contains(char);
    let quoted = match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    quoted.replace('%', r"\%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_is_replaced_whole_and_other_lines_are_kept() {
        let config = Path::new("/etc/longshore/config.toml");
        let [nightly, weekly] = ["nightly", "weekly"].map(|job| Block { job, config });
        let other = "MAILTO=root\n0 1 * * * backup\n";
        let line = |time: &str| vec![format!("{time} longshore run")];
        let first = nightly.replace(other, &line("0 3 * * *")).unwrap();
        assert!(first.starts_with(other) && first.contains("\n0 3 * * * longshore run\n"), "{first}");
        assert_eq!(
            nightly.replace(&first, &line("0 3 * * *")).unwrap(),
            first,
            "a second installation changes nothing"
        );
        let both = weekly.replace(&first, &line("0 5 * * 0")).unwrap();
        assert_eq!(jobs(&both, config), ["nightly", "weekly"]);
        let changed = nightly.replace(&both, &line("0 4 * * *")).unwrap();
        assert!(!changed.contains("0 3") && changed.contains("0 4") && changed.contains("0 5"), "{changed}");
        assert_eq!(nightly.replace(&weekly.replace(&changed, &[]).unwrap(), &[]).unwrap(), other);
        assert!(jobs(&both, Path::new("/srv/config.toml")).is_empty());
    }

    #[test]
    fn block_without_end_is_refused() {
        let block = Block { job: "nightly", config: Path::new("/etc/longshore/config.toml") };
        let text = block.replace("", &["0 3 * * * longshore run".to_owned()]).unwrap();
        let cut = text.lines().take(2).chain(["0 1 * * * backup"]).collect::<Vec<_>>().join("\n");
        let error = block.replace(&cut, &[]).unwrap_err();
        assert!(error.kind() == Kind::Refused && error.remedy().unwrap().contains("# END"), "{error:?}");
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quoted("/etc/longshore/config.toml"), "/etc/longshore/config.toml");
        assert_eq!(quoted("/srv/a b's 100%"), r"'/srv/a b'\''s 100\%'");
    }
}
