//! The output of a program for an input.

use std::process::Stdio;
use std::time::Duration;

use longshore_core::{Error, Kind, Result, Stage};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// Runs a program that is searched in `PATH`, with `input` as its standard input. Returns its
/// standard output. The program inherits the environment. Dropping the future ends it.
///
/// # Errors
///
/// Fails if the program cannot be started, fails, or takes longer than `limit`. The cause is the
/// program's message.
pub async fn output(stage: Stage, argv: &[&str], input: &[u8], limit: Duration) -> Result<Vec<u8>> {
    let program = argv.first().copied().unwrap_or_default();
    let cannot = |what: &str, error| Error::io(stage, program, format!("cannot {what} the program"), error);
    let mut command = Command::new(program);
    command.args(argv.iter().skip(1)).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().map_err(|error| cannot("start", error))?;
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            match stdin.write_all(input).await {
                // A program that reads no input fails with a message of its own.
                Ok(()) | Err(_) => drop(stdin),
            }
        }
    };
    let work = async { tokio::join!(write, child.wait_with_output()).1 };
    let Ok(ended) = timeout(limit, work).await else {
        let message = format!("did not end within {} s, and was killed", limit.as_secs());
        return Err(Error::new(stage, Kind::Failed, program, message));
    };
    let ended = ended.map_err(|error| cannot("wait for", error))?;
    if ended.status.success() {
        return Ok(ended.stdout);
    }
    let stderr = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
    Err(Error::new(stage, Kind::Failed, program, format!("failed ({})", ended.status)).because(stderr))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(script: &str, seconds: u64) -> Result<Vec<u8>> {
        output(Stage::Config, &["sh", "-c", script], b"in", Duration::from_secs(seconds)).await
    }

    #[tokio::test]
    async fn output_is_returned_only_of_success() {
        assert_eq!(run("cat; printf out", 60).await.unwrap(), b"inout");
        let error = run("printf out; echo why >&2; exit 3", 60).await.unwrap_err();
        assert!(error.chain().contains("why") && error.to_string().contains("exit status: 3"), "{}", error.chain());
        assert!(run("sleep 60", 0).await.unwrap_err().to_string().contains("within 0 s"));
        let missing = output(Stage::Config, &["longshore-no-such-program"], b"", Duration::from_secs(9)).await;
        assert_eq!(missing.unwrap_err().kind(), Kind::NotFound);
    }
}
