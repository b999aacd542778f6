//! Examples for the help of each verb.

use clap::{Command, CommandFactory};

use super::Args;

/// The examples, by verb.
const EXAMPLES: [(&str, &[&str]); 27] = [
    (
        "init",
        &[
            "longshore init --ship /mnt/nas/postgresql",
            "longshore init --ship s3://acme/pg --ship ssh://backup@nas/srv/pg",
            "longshore init --from /etc/pg_back/pg_back.conf",
        ],
    ),
    ("check", &["longshore check", "longshore check nightly --json"]),
    ("config", &["longshore config check", "longshore config check new.toml --json", "longshore config schema"]),
    ("run", &["longshore run", "longshore run nightly --quiet"]),
    ("list", &["longshore list", "longshore list shop --all"]),
    (
        "status",
        &[
            "longshore status",
            "longshore status --nagios",
            "longshore status --prometheus /var/lib/prometheus/node-exporter/longshore.prom",
            "longshore status --notify",
        ],
    ),
    ("verify", &["longshore verify --all", "longshore verify shop --identity key.txt"]),
    (
        "inspect",
        &[
            "longshore inspect shop --identity key.txt",
            "longshore inspect main/base --identity key.txt",
            "longshore inspect /srv/old/shop.dump --check",
        ],
    ),
    (
        "restore",
        &[
            "longshore restore shop --create --to 'host=db2 user=postgres' --identity key.txt",
            "longshore restore shop --at 2026-06-07 --output shop.dump --identity key.txt",
            "longshore restore main --base --to-dir /srv/pg/main --tablespace fast=/srv/fast --identity key.txt",
            "longshore restore main --base --to-dir /srv/pg/main --at '2026-06-07 11:59:30+02' --identity key.txt",
            "longshore restore main --base --to-dir /srv/pg/main --at latest --start --identity key.txt",
            "longshore restore main --base --to-dir /srv/pg/standby --standby --identity key.txt",
        ],
    ),
    ("drill", &["longshore drill nightly --identity key.txt", "longshore drill nightly --json"]),
    ("prune", &["longshore prune --dry-run", "longshore prune --retired main/shop"]),
    (
        "remove",
        &[
            "longshore remove main/shop/shop-2026-06-07_091500 --why 'data of a customer who left'",
            "longshore remove 'main/shop 2026-06-07 09:15' --why 'taken by mistake' --dry-run",
        ],
    ),
    (
        "adopt",
        &[
            "longshore adopt detect nas",
            "longshore adopt detect offsite --json",
            "longshore adopt take pg_back --job nightly --dry-run",
            "longshore adopt take pg_back --job nightly --file shop",
        ],
    ),
    (
        "retention",
        &[
            "longshore retention simulate --policy standard --every 1d --for 1y",
            "longshore retention simulate --policy standard --every 6h --for 30d --json",
        ],
    ),
    ("hold", &["longshore hold shop --why audit", "longshore hold shop --why audit --until 2027-01-01"]),
    ("unhold", &["longshore unhold shop", "longshore unhold main/shop/shop-2026-06-07_091500"]),
    (
        "mark",
        &[
            "longshore mark shop --withdraw --why 'the memory of the host was faulty'",
            "longshore mark main/shop/shop-2026-06-07_091500 --withdraw --why 'drilled on a broken disk'",
        ],
    ),
    ("sync", &["longshore sync nightly --dry-run", "longshore sync nightly --repair"]),
    (
        "rekey",
        &[
            "longshore rekey nightly --identity old.txt --to-file recipients.txt --dry-run",
            "longshore rekey nightly --identity old.txt --to age1… --to age1…",
            "longshore rekey --all --identity old.txt --to-file recipients.txt",
        ],
    ),
    (
        "trust",
        &[
            "longshore trust adopt nas --identity key.txt",
            "longshore trust adopt nas --identity key.txt --yes",
            "longshore trust accept-chain db1",
        ],
    ),
    (
        "schedule",
        &[
            "longshore schedule --local",
            "longshore schedule install --now",
            "longshore schedule install --serve",
            "longshore schedule install nightly --cron --print",
            "longshore schedule uninstall",
        ],
    ),
    (
        "wal",
        &[
            "longshore wal status --cluster main",
            "longshore wal push pg_wal/0000000100000016000000B3",
            "longshore wal receive --create-slot",
            "longshore wal receive --cluster main --synchronous",
        ],
    ),
    ("notify", &["longshore notify test ops", "longshore notify test mail --quiet"]),
    (
        "plugin",
        &[
            "longshore plugin new --language python backup-store",
            "longshore plugin test ./backup-store --setting path=/srv/test",
        ],
    ),
    ("serve", &["longshore serve", "longshore serve --no-schedule --listen unix:/run/longshore/serve.sock"]),
    ("completions", &["longshore completions bash", "longshore completions zsh"]),
    ("man", &["longshore man ~/.local/share/man", "longshore man /usr/local/share/man"]),
];

/// Returns the command line, with the examples in the help of each verb.
pub(crate) fn command() -> Command {
    EXAMPLES.iter().fold(Args::command(), |command, (verb, lines)| {
        command.mut_subcommand(verb, |verb| {
            let before = verb.get_after_help().map(|help| format!("{help}\n\n")).unwrap_or_default();
            verb.after_help(format!("{before}Examples:\n  {}", lines.join("\n  ")))
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser;

    use super::*;

    /// Splits a line as a shell does, as far as the examples need it.
    fn words(line: &str) -> Vec<String> {
        let parts = line.split('\'').enumerate();
        let words = parts.flat_map(|(place, part)| match place % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        });
        words.collect()
    }

    #[test]
    fn examples_are_accepted() {
        for line in EXAMPLES.iter().flat_map(|(_, lines)| *lines) {
            let parsed = Args::try_parse_from(words(line));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn every_verb_has_examples() {
        let examples: BTreeSet<_> = EXAMPLES.iter().map(|(verb, _)| (*verb).to_owned()).collect();
        let verbs = Args::command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
        assert_eq!(examples, verbs);
        for (verb, lines) in EXAMPLES {
            assert!(lines.iter().all(|line| line.starts_with(&format!("longshore {verb}"))), "{verb}");
            let help = command().find_subcommand(verb).unwrap().get_after_help().unwrap().to_string();
            assert!(lines.iter().all(|line| help.contains(line)), "{help}");
        }
    }
}
