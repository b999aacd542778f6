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
pub fn script(script: &str, arguments: &[&str]) -> String {
    let words = [script, "longshore"].into_iter().chain(arguments.iter().copied());
    let words: Vec<_> = words.map(quote).collect();
    format!("exec sh -c {}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_gives_back_every_word_as_it_was() {
        let odd = ["", " ", "a b", "a'b", "''", "$HOME", "`id`", "\"", "\\", "a\nb", "-n", "*", "~", ";id", "é", "!x"];
        let line = script("printf '%s\\0' \"$@\"", &odd);
        let output = Command::new("sh").args(["-c", &line]).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let told: Vec<_> = told.strip_suffix('\0').unwrap().split('\0').collect();
        assert_eq!(told, odd);
    }
}
