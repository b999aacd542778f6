//! The wait for the checkpoint with which a base backup begins.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use longshore_core::Result;
use longshore_core::event::{Event, Observer};
use longshore_core::stage::{Dump, Dumped};
use longshore_core::subject::Subject;
use tokio::time::timeout;

/// The time after which the wait is reported.
const SILENT_WAIT: Duration = Duration::from_secs(5);

/// The report. A server spreads a checkpoint over most of `checkpoint_timeout`.
const WAITING: &str = "base: waiting for the checkpoint of the server, which it spreads over minutes; checkpoint = \"fast\" in \
                       the entry of dump makes it write at once";

/// Begins a dump. Reports a long wait if it is a base backup.
pub(super) async fn begin(dump: &dyn Dump, subject: &Subject, observer: &Arc<dyn Observer>) -> Result<Dumped> {
    reported(subject, dump.dump(subject), observer).await
}

/// Waits for the start of a dump. Reports a long wait if the dump is a base backup.
pub(super) async fn reported<T>(subject: &Subject, start: impl Future<Output = T>, observer: &Arc<dyn Observer>) -> T {
    let mut start = pin!(start);
    if *subject == Subject::Base {
        if let Ok(started) = timeout(SILENT_WAIT, &mut start).await {
            return started;
        }
        observer.event(&Event::Warned(WAITING));
    }
    start.await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::sleep;

    use super::*;

    #[derive(Default)]
    struct Warnings(Mutex<Vec<String>>);

    impl Observer for Warnings {
        fn event(&self, event: &Event<'_>) {
            if let Event::Warned(text) = event {
                self.0.lock().unwrap().push((*text).to_owned());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_long_waits_of_base_backups_are_reported() {
        for (subject, seconds, reports) in
            [(Subject::Base, 100, 1), (Subject::Base, 1, 0), (Subject::database("app"), 100, 0)]
        {
            let warnings = Arc::new(Warnings::default());
            let observer: Arc<dyn Observer> = warnings.clone();
            let start = async {
                sleep(Duration::from_secs(seconds)).await;
                seconds
            };
            assert_eq!(reported(&subject, start, &observer).await, seconds);
            assert_eq!(warnings.0.lock().unwrap().len(), reports, "{subject} {seconds}");
        }
    }
}
