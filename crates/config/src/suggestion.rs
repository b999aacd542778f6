//! The known name nearest to a mistyped one.

/// Returns the known name nearest to the written one, if one is near.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = written.to_lowercase();
    // One typing error in a short word, two in a longer one.
    let limit = 1 + written.chars().count() / 5;
    let rank = |name: &'a str| {
        let other = name.to_lowercase();
        let distance = strsim::damerau_levenshtein(&lower, &other);
        let begins = lower.len() >= 2 && other.starts_with(&lower);
        (distance <= limit || begins).then_some((distance.min(limit + 1), name))
    };
    known.into_iter().filter(|name| *name != written).filter_map(rank).min().map(|(_, name)| name)
}

/// Returns the hint for an unknown name: the nearest known name, if one is near, and `otherwise`.
pub fn hint<'a>(written: &str, known: impl IntoIterator<Item = &'a str>, otherwise: &str) -> String {
    match nearest(written, known) {
        Some(name) => format!("did you mean \"{name}\"? {otherwise}"),
        None => otherwise.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_error_finds_nearest_name() {
        let known = ["appdb", "globals", "nightly", "app-prod", "postgres"];
        let found = |written| nearest(written, known);
        assert_eq!(found("apdb"), Some("appdb"));
        assert_eq!(found("appbd"), Some("appdb"), "two letters the other way round");
        assert_eq!(found("Nightly"), Some("nightly"));
        assert_eq!(found("postgers"), Some("postgres"));
        assert_eq!(found("glob"), Some("globals"), "the beginning");
        for far in ["nosuch", "x", "", "warehouse"] {
            assert_eq!(found(far), None, "{far}");
        }
        assert_eq!(hint("apdb", known, "more"), "did you mean \"appdb\"? more");
        assert_eq!(hint("nosuch", known, "more"), "more");
    }
}
