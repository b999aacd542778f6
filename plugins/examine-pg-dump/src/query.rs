//! A user's query and its result.

use longshore_core::{Error, Result, Stage};
use longshore_pg_client::child::{Pipes, Process, feed};
use longshore_pg_client::client::Client;
use tokio::io::AsyncReadExt;

/// The server's time limit for a query.
const STATEMENT_TIMEOUT: &str = "10min";

/// The text that psql prints for NULL: no text value of a database contains it.
const NULL: &str = "\u{1}longshore: null\u{1}";

/// Returns the rows of a query, which must not change anything. The query is written to psql's
/// standard input, so that no process list shows it.
pub(crate) async fn rows(client: &Client, database: &str, query: &str) -> Result<Vec<Vec<Option<String>>>> {
    let mut command = client.psql().await?;
    command.args(["--csv", "--tuples-only", &format!("--pset=null={NULL}"), "--file=-"]);
    command.env("PGCLIENTENCODING", "UTF8");
    let mut process = Process::start(command, "psql", Pipes::Both)?;
    let script = format!(
        "begin transaction isolation level repeatable read, read only;\nset local statement_timeout = '{STATEMENT_TIMEOUT}';\n{query}\n;\nrollback;\n"
    );
    let (mut stdin, stdout) = (process.stdin.take(), process.stdout.take());
    let mut script = longshore_core::stream::from_bytes(script);
    let mut answer = Vec::new();
    let read = async {
        match stdout {
            Some(mut stdout) => stdout.read_to_end(&mut answer).await,
            None => Ok(0),
        }
    };
    // Writing and reading run concurrently, so that neither blocks the other.
    let (fed, read) = tokio::join!(feed(&mut stdin, &mut script, None), read);
    fed?;
    read.map_err(|error| Error::io(Stage::Verify, database, "cannot read the output of psql", error))?;
    let exit = process.wait().await?;
    if !exit.status.success() {
        return Err(client.sql_error(Stage::Verify, database, &exit).await);
    }
    Ok(parse_csv(&String::from_utf8_lossy(&answer)))
}

/// Parses CSV as psql writes it.
fn parse_csv(csv: &str) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    let mut row = Vec::new();
    let mut value = String::new();
    let mut quoted = false;
    let mut letters = csv.chars().peekable();
    let cell = |value: &mut String| Some(std::mem::take(value)).filter(|value| value != NULL);
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                value.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(cell(&mut value)),
            '\n' if !quoted => {
                row.push(cell(&mut value));
                rows.push(std::mem::take(&mut row));
            }
            _ => value.push(letter),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_is_parsed_with_quotes_line_feeds_and_nulls() {
        let csv = format!("1,\"a \"\"b\"\", c\n d\",\n{NULL},,x\n");
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            parse_csv(&csv),
            [vec![text("1"), text("a \"b\", c\n d"), text("")], vec![None, text(""), text("x")]]
        );
        assert_eq!(parse_csv(""), Vec::<Vec<_>>::new());
    }
}
