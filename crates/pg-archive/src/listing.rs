//! Lines of `pg_restore --list`, such as `215; 1259 16390 TABLE public orders app`.

/// Returns the kind, schema, name and owner in a line, without the preceding numbers.
pub fn description(line: &str) -> Option<&str> {
    line.splitn(4, ' ').nth(3)
}

/// Splits the owner off the end of a line. Names may contain spaces, so the owner is the longest
/// known role that the line ends with, or else its last word. The owner is empty if the entry has
/// none.
pub fn split_owner<R: AsRef<str>>(line: &str, roles: impl IntoIterator<Item = R>) -> (&str, &str) {
    let before = |role: R| line.strip_suffix(role.as_ref())?.strip_suffix(' ');
    match roles.into_iter().filter_map(before).min_by_key(|before: &&str| before.len()) {
        Some(before) => (before, &line[before.len() + 1..]),
        None => line.rsplit_once(' ').unwrap_or((line, "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_longest_known_role_off_line() {
        let roles = ["owner", "old owner"];
        assert_eq!(split_owner("TABLE public t old owner", roles), ("TABLE public t", "old owner"));
        assert_eq!(split_owner("TABLE public t old owner", [] as [&str; 0]), ("TABLE public t old", "owner"));
        assert_eq!(split_owner("TABLE public t chief", roles), ("TABLE public t", "chief"));
        assert_eq!(split_owner("ENCODING - ENCODING ", roles), ("ENCODING - ENCODING", ""));
    }

    #[test]
    fn description_follows_three_numbers() {
        assert_eq!(description("215; 1259 16390 TABLE public t app"), Some("TABLE public t app"));
        assert_eq!(description("215; 1259"), None);
    }
}
