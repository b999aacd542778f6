//! The patterns of OpenSSH's lists: `*` for any characters, `?` for one character.

/// Returns true if a text matches a pattern.
pub(crate) fn matches(text: &str, pattern: &str) -> bool {
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let (mut at, mut next) = (0, 0);
    // The last star, and the text at which its match ends so far.
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(next) {
            Some(b'*') => {
                star = Some((next, at));
                next += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[at] => {
                at += 1;
                next += 1;
            }
            _ => match star {
                Some((position, end)) => {
                    star = Some((position, end + 1));
                    (at, next) = (end + 1, position + 1);
                }
                None => return false,
            },
        }
    }
    pattern[next..].iter().all(|byte| *byte == b'*')
}

/// Returns true if a text matches a pattern of a list, and no negated one.
pub(crate) fn matches_list(text: &str, list: &str) -> bool {
    let mut is_matched = false;
    for pattern in list.split(',') {
        match pattern.strip_prefix('!') {
            Some(negated) if matches(text, negated) => return false,
            Some(_) => {}
            None => is_matched |= matches(text, pattern),
        }
    }
    is_matched
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_openssh() {
        for (text, pattern, expected) in [
            ("backup", "backup", true),
            ("backup", "back", false),
            ("backup", "back*", true),
            ("backup", "*", true),
            ("", "*", true),
            ("", "?", false),
            ("backup", "b?ck*p", true),
            ("backup", "*a*u?", true),
            ("backup", "*a*u", false),
            ("backup", "backup?", false),
        ] {
            assert_eq!(matches(text, pattern), expected, "{text} {pattern}");
        }
    }

    #[test]
    fn negated_pattern_excludes() {
        assert!(matches_list("longshore-mark", "file,longshore-*"));
        assert!(!matches_list("longshore-mark", "longshore-*,!longshore-mark"));
        assert!(!matches_list("git", "longshore-*"));
        assert!(!matches_list("git", "!file"));
    }
}
