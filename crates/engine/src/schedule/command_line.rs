//! The tasks that a command line of a unit or of cron starts.

use std::collections::BTreeSet;
use std::path::Path;

use longshore_config::Config;
use longshore_schedule::Verb;

/// The name of the program.
const PROGRAM: &str = "longshore";

/// Splits a command line into words, without quotes, as a shell does.
pub(super) fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut is_word = false;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match (char, quote) {
            ('\\', None) => {
                word.extend(chars.next());
                is_word = true;
            }
            (quoting @ ('\'' | '"'), None) => {
                quote = Some(quoting);
                is_word = true;
            }
            (char, Some(quoting)) if char == quoting => quote = None,
            (char, None) if char.is_whitespace() || ";&|()".contains(char) => {
                if is_word {
                    words.push(std::mem::take(&mut word));
                }
                is_word = false;
            }
            (char, _) => {
                word.push(char);
                is_word = true;
            }
        }
    }
    if is_word {
        words.push(word);
    }
    words
}

/// Returns the tasks of a configuration that a command line starts, by job and verb.
pub(super) fn tasks(line: &str, config: &Config) -> BTreeSet<(String, Verb)> {
    let words = words(line);
    // A shell's -c has the command in one word.
    let nested = words.iter().filter(|word| word.contains(' ')).flat_map(|word| tasks(word, config));
    let mut all: BTreeSet<_> = nested.collect();
    let is_program = |word: &String| Path::new(word).file_name().is_some_and(|name| name == PROGRAM);
    let mut begins: Vec<usize> = (0..words.len()).filter(|index| is_program(&words[*index])).collect();
    begins.push(words.len());
    for pair in begins.windows(2) {
        all.extend(tasks_of_arguments(&words[pair[0] + 1..pair[1]], config));
    }
    all
}

fn tasks_of_arguments(arguments: &[String], config: &Config) -> Vec<(String, Verb)> {
    let mut arguments = arguments.iter();
    let mut named: Option<&str> = None;
    let mut rest: Vec<&str> = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--config" | "-c" => named = arguments.next().map(String::as_str),
            argument => match argument.strip_prefix("--config=") {
                Some(file) => named = Some(file),
                None => rest.push(argument),
            },
        }
    }
    if named.is_some_and(|named| !is_same_file(Path::new(named), &config.path)) {
        return Vec::new();
    }
    let mut words = rest.into_iter().skip_while(|word| word.starts_with('-')).peekable();
    let verb = match words.next() {
        Some("schedule") if words.next_if_eq(&"start").is_some() => None,
        Some(word) => match Verb::of_name(word) {
            Some(verb) => Some(verb),
            None => return Vec::new(),
        },
        None => return Vec::new(),
    };
    let words: Vec<&str> = words.collect();
    // `schedule start JOB VERB`: a job may have the name of a verb.
    let verb = verb.or_else(|| words.iter().rev().find_map(|word| Verb::of_name(word)));
    let Some(verb) = verb else { return Vec::new() };
    let jobs: Vec<&String> = config.jobs.keys().filter(|job| words.contains(&job.as_str())).collect();
    let jobs = match (jobs.is_empty(), verb) {
        (false, _) => jobs,
        (true, Verb::Verify | Verb::Prune) => config.jobs.keys().collect(),
        (true, Verb::Run | Verb::Drill | Verb::Sync) if config.jobs.len() == 1 => config.jobs.keys().collect(),
        (true, _) => Vec::new(),
    };
    jobs.into_iter().map(|job| (job.clone(), verb)).collect()
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let exact = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    exact(one) == exact(other)
}

#[cfg(test)]
mod tests {
    use longshore_testkit::memory::MemoryStore;

    use super::*;
    use crate::fixture::config;

    #[test]
    fn command_line_is_split_as_by_a_shell() {
        assert_eq!(words(r#"a 'b c' "d e"f \g; h && i"#), ["a", "b c", "d ef", "g", "h", "i"]);
        assert_eq!(words("''"), [""]);
    }

    #[test]
    fn tasks_are_found_in_command_lines() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &MemoryStore::new(), None);
        let job = config.jobs.keys().next().unwrap().clone();
        let path = config.path.display().to_string();
        let found = |line: &str| -> Vec<Verb> {
            let line = line.replace("JOB", &job).replace("CONFIG", &path);
            let found = tasks(&line, &config);
            assert!(found.iter().all(|(of, _)| *of == job), "{line}");
            found.into_iter().map(|(_, verb)| verb).collect()
        };
        assert_eq!(found("/usr/bin/longshore --config CONFIG schedule start JOB drill"), [Verb::Drill]);
        assert_eq!(found("longshore run JOB"), [Verb::Run]);
        assert_eq!(found("longshore run"), [Verb::Run], "the only job");
        assert_eq!(found("flock -n /run/x longshore -q --config=CONFIG run JOB >/dev/null 2>&1"), [Verb::Run]);
        assert_eq!(
            found("longshore run JOB && longshore prune; longshore verify --all"),
            [Verb::Run, Verb::Verify, Verb::Prune]
        );
        assert_eq!(found("sh -c 'longshore run JOB'"), [Verb::Run]);
        for other in [
            "longshore --config /etc/other.toml run JOB",
            "longshore status",
            "longshore list JOB run",
            "longshore serve",
            "/opt/longshore/bin/backup run",
            "echo longshore-run JOB",
            "longshore schedule",
        ] {
            assert!(found(other).is_empty(), "{other}");
        }
    }
}
