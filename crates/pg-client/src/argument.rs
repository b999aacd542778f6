//! What a user may add to a command line, and what would break the pipeline.

use longshore_core::{Error, Kind, Result, Stage};

/// An option of a program that is ours to give: its short letter, if it has one, and its long name.
pub type Reserved = (Option<char>, &'static str);

/// Options that say where to connect, which the cluster's connection does.
pub const CONNECTION: [Reserved; 9] = [
    (Some('d'), "dbname"),
    (Some('h'), "host"),
    (Some('p'), "port"),
    (Some('U'), "username"),
    (Some('w'), "no-password"),
    (Some('W'), "password"),
    (Some('V'), "version"),
    (Some('?'), "help"),
    (Some('f'), "file"),
];

/// Refuses arguments that give a reserved option in any way that `getopt_long` understands: `-f`, bundled as in `-vf`, `--file`, or shortened
/// as in `--fi`. Each argument must stand for itself, so a value is written as `--table=x`, not after a space.
pub fn check(setting: &str, arguments: &[String], reserved: &[Reserved]) -> Result<()> {
    arguments.iter().try_for_each(|argument| {
        let refuse =
            |message: String, hint: &str| Err(Error::new(Stage::Config, Kind::Usage, setting, message).hint(hint));
        let taken = |option: &str| {
            refuse(
                format!(
                    "\"{argument}\" gives --{option}, which Longshore gives itself or which would break the backup"
                ),
                "remove it; see whether there is a setting for what you want",
            )
        };
        if let Some(long) = argument.strip_prefix("--") {
            let name = long.split_once('=').map_or(long, |(name, _)| name);
            // getopt_long takes any beginning of a long option that fits only one.
            let reserved = reserved.iter().find(|(_, option)| option.starts_with(name));
            return reserved.map_or(Ok(()), |(_, option)| taken(option));
        }
        let Some(short) = argument.strip_prefix('-').filter(|short| !short.is_empty()) else {
            return refuse(
                format!("\"{argument}\" is not an option"),
                "write an option and its value as one argument: \"--table=name\"",
            );
        };
        let letter = |letter: char| reserved.iter().find(|(short, _)| *short == Some(letter));
        // Letters may be bundled, and which of them take the rest as their value is the program's business: none is let through.
        short.chars().find_map(letter).map_or(Ok(()), |(_, option)| taken(option))
    })
}

/// The units of time that PostgreSQL's settings know, and how many milliseconds each has.
const UNITS: [(&str, f64); 7] =
    [("", 1.0), ("us", 0.001), ("ms", 1.0), ("s", 1_000.0), ("min", 60_000.0), ("h", 3_600_000.0), ("d", 86_400_000.0)];

/// Refuses what PostgreSQL takes for no length of time, or for one that is longer than its settings can be: the server would say so only
/// when the dump begins.
pub fn check_timeout(setting: &str, text: &str) -> Result<()> {
    let trimmed = text.trim();
    let end = trimmed.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let scale = UNITS.iter().find(|(name, _)| *name == unit.trim_start()).map(|(_, scale)| scale);
    let milliseconds = number.parse::<f64>().ok().zip(scale).map(|(number, scale)| number * scale);
    if milliseconds.is_some_and(|milliseconds| milliseconds <= f64::from(i32::MAX)) {
        return Ok(());
    }
    let message = format!("\"{text}\" is no length of time to PostgreSQL, or too long a one");
    Err(Error::new(Stage::Config, Kind::Usage, setting, message)
        .hint("write milliseconds, or a number and us, ms, s, min, h or d, such as \"60s\"; 0 waits for ever"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_the_pipeline_is_refused_however_it_is_written() {
        for bad in ["-f", "-fx", "-vf", "--file", "--file=x", "--fil", "--", "-", "x", "--host=h", "-W"] {
            let error = check("extra_args", &[bad.to_owned()], &CONNECTION).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{bad}");
        }
        for good in ["--verbose", "-v", "--inserts", "--section=data"] {
            check("extra_args", &[good.to_owned()], &CONNECTION).unwrap();
        }
    }
    #[test]
    fn a_timeout_is_what_postgresql_takes_for_one() {
        for good in ["0", "300", "300ms", "60s", "1.5 min", " 2h ", "24d", "500us"] {
            check_timeout("lock_wait_timeout", good).unwrap();
        }
        for bad in ["", "soon", "s", "-1", "1m", "60S", "1 week", "25d", "1.2.3s", "60s!", "1e400"] {
            assert_eq!(check_timeout("lock_wait_timeout", bad).unwrap_err().kind(), Kind::Usage, "{bad}");
        }
    }
}
