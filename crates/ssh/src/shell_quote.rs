//! Quoting for a shell.

/// Quotes a word for a shell's command line.
pub fn quote(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=,@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Returns a command line that runs a POSIX shell script with arguments, in any account's shell.
pub fn sh_command(script: &str, arguments: &[&str]) -> String {
    let words = [script, "longshore"].into_iter().chain(arguments.iter().copied());
    let words: Vec<_> = words.map(quote).collect();
    format!("exec sh -c {}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn shell_restores_quoted_words() {
        let words =
            ["", " ", "a b", "a'b", "''", "$HOME", "`id`", "\"", "\\", "a\nb", "-n", "*", "~", ";id", "é", "!x"];
        let line = sh_command("printf '%s\\0' \"$@\"", &words);
        let output = Command::new("sh").args(["-c", &line]).output().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        let parsed: Vec<_> = output.strip_suffix('\0').unwrap().split('\0').collect();
        assert_eq!(parsed, words);
    }
}
