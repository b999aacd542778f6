//! Checks of user-supplied arguments against those that would break the pipeline.

use longshore_core::{Error, Kind, Result, Stage};

/// An option of a program that only Longshore sets: its short letter, if it has one, and its long
/// name.
pub type Reserved = (Option<char>, &'static str);

/// Options that choose the connection, which the cluster's settings choose.
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

/// Fails if an argument gives a reserved option in any form that `getopt_long` accepts: `-f`,
/// bundled as in `-vf`, `--file`, or abbreviated as in `--fi`. Each argument must be complete, so a
/// value is written as `--table=x`, not after a space.
pub fn check(setting: &str, arguments: &[String], reserved: &[Reserved]) -> Result<()> {
    arguments.iter().try_for_each(|argument| {
        let refuse =
            |message: String, hint: &str| Err(Error::new(Stage::Config, Kind::Usage, setting, message).hint(hint));
        let reserved_error = |option: &str| {
            refuse(
                format!("\"{argument}\" sets --{option}, which Longshore sets itself or which would break the backup"),
                "remove the option, or use the setting of Longshore that replaces it",
            )
        };
        if let Some(long) = argument.strip_prefix("--") {
            let name = long.split_once('=').map_or(long, |(name, _)| name);
            // getopt_long accepts any unambiguous prefix of a long option.
            let reserved = reserved.iter().find(|(_, option)| option.starts_with(name));
            return reserved.map_or(Ok(()), |(_, option)| reserved_error(option));
        }
        let Some(short) = argument.strip_prefix('-').filter(|short| !short.is_empty()) else {
            return refuse(
                format!("\"{argument}\" is not an option"),
                "write an option and its value as one argument: \"--table=name\"",
            );
        };
        let letter = |letter: char| reserved.iter().find(|(short, _)| *short == Some(letter));
        // Letters may be bundled, and only the program knows which of them take the rest as a
        // value, so any reserved letter is refused.
        short.chars().find_map(letter).map_or(Ok(()), |(_, option)| reserved_error(option))
    })
}

/// The time units of PostgreSQL's settings, each in milliseconds.
const UNITS: [(&str, f64); 7] =
    [("", 1.0), ("us", 0.001), ("ms", 1.0), ("s", 1_000.0), ("min", 60_000.0), ("h", 3_600_000.0), ("d", 86_400_000.0)];

/// Fails if PostgreSQL would reject `text` as a duration, or if the duration exceeds the maximum of
/// its settings. The server would report the error only when the dump begins.
pub fn check_timeout(setting: &str, text: &str) -> Result<()> {
    let trimmed = text.trim();
    let end = trimmed.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let scale = UNITS.iter().find(|(name, _)| *name == unit.trim_start()).map(|(_, scale)| scale);
    let milliseconds = number.parse::<f64>().ok().zip(scale).map(|(number, scale)| number * scale);
    if milliseconds.is_some_and(|milliseconds| milliseconds <= f64::from(i32::MAX)) {
        return Ok(());
    }
    let message = format!("\"{text}\" is not a duration that PostgreSQL accepts");
    Err(Error::new(Stage::Config, Kind::Usage, setting, message)
        .hint("write milliseconds, or a number and us, ms, s, min, h or d, such as \"60s\"; 0 disables the timeout"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_options_are_refused_in_every_form() {
        for bad in ["-f", "-fx", "-vf", "--file", "--file=x", "--fil", "--", "-", "x", "--host=h", "-W"] {
            let error = check("extra_args", &[bad.to_owned()], &CONNECTION).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{bad}");
        }
        for good in ["--verbose", "-v", "--inserts", "--section=data"] {
            check("extra_args", &[good.to_owned()], &CONNECTION).unwrap();
        }
    }
    #[test]
    fn timeouts_are_validated_like_postgresql() {
        for good in ["0", "300", "300ms", "60s", "1.5 min", " 2h ", "24d", "500us"] {
            check_timeout("lock_wait_timeout", good).unwrap();
        }
        for bad in ["", "soon", "s", "-1", "1m", "60S", "1 week", "25d", "1.2.3s", "60s!", "1e400"] {
            assert_eq!(check_timeout("lock_wait_timeout", bad).unwrap_err().kind(), Kind::Usage, "{bad}");
        }
    }
}
