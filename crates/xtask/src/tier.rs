//! The two tiers of tests: the tests before each commit, and all tests.

/// A tier of tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    /// All tests except those in modules named `slow`.
    Commit,
    /// All tests.
    All,
}

/// The program that runs the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runner {
    /// `cargo nextest`, whose configuration excludes the slow tests.
    Nextest,
    /// `cargo test`.
    Cargo,
}

impl Tier {
    /// Returns the arguments of cargo for the tests of this tier, with additional arguments of the
    /// runner.
    pub(crate) fn arguments<'a>(self, runner: Runner, more: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = match runner {
            Runner::Nextest => vec!["nextest", "run", "--workspace"],
            Runner::Cargo => vec!["test", "--workspace", "--all-targets"],
        };
        if (self, runner) == (Self::All, Runner::Nextest) {
            arguments.push("--ignore-default-filter");
        }
        arguments.extend(more);
        if (self, runner) == (Self::Commit, Runner::Cargo) {
            if !more.contains(&"--") {
                arguments.push("--");
            }
            arguments.extend(["--skip", "slow::"]);
        }
        arguments
    }
}

/// Returns the arguments of cargo for the tests of archived WAL, which `--all` repeats with the
/// other major versions of PostgreSQL.
pub(crate) fn wal_tests(runner: Runner) -> Vec<&'static str> {
    match runner {
        Runner::Nextest => {
            let wal = "binary(promises) & test(/^(recovery_|unneeded_wal_|wal_is_)/)";
            vec!["nextest", "run", "--workspace", "-E", wal]
        }
        Runner::Cargo => {
            vec!["test", "--workspace", "--test", "promises", "--", "recovery_", "unneeded_wal_", "wal_is_"]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Runner, Tier};

    #[test]
    fn nextest_configuration_skips_slow_tests() {
        let configuration = include_str!("../../../.config/nextest.toml");
        assert!(configuration.contains("default-filter = 'not test(/(^|::)slow::/)'"), "{configuration}");
        let line = |tier: Tier| tier.arguments(Runner::Nextest, &["-p", "longshore"]).join(" ");
        assert_eq!(line(Tier::Commit), "nextest run --workspace -p longshore");
        assert_eq!(line(Tier::All), "nextest run --workspace --ignore-default-filter -p longshore");
    }

    #[test]
    fn cargo_test_skips_slow_tests_with_any_arguments() {
        let line = |tier: Tier, more: &[&str]| tier.arguments(Runner::Cargo, more).join(" ");
        assert_eq!(line(Tier::Commit, &[]), "test --workspace --all-targets -- --skip slow::");
        let more = ["--test", "promises", "--", "--nocapture"];
        let expected = "test --workspace --all-targets --test promises -- --nocapture --skip slow::";
        assert_eq!(line(Tier::Commit, &more), expected);
        assert_eq!(line(Tier::All, &["--", "--nocapture"]), "test --workspace --all-targets -- --nocapture");
    }
}
