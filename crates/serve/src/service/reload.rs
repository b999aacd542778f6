//! Reading the configuration again.

use std::rc::Rc;
use std::sync::Arc;

use longshore_core::Error;
use longshore_engine::identity::identities;
use longshore_engine::overview::{OverviewReader, RunningRuns};
use sd_notify::NotifyState;

use super::{Service, activity, notify, planner, received};
use crate::access::Access;
use crate::listener::expect_protected;
use crate::tls;

impl Service<'_> {
    /// Reads the configuration again: whole, or not at all. Returns true if it was replaced.
    pub(super) async fn reload(&mut self) -> bool {
        const BANNER: &str = "The configuration was not reloaded: ";
        // Without a clock, systemd does without the time.
        let now = NotifyState::monotonic_usec_now().ok();
        notify(&[NotifyState::Reloading].into_iter().chain(now).collect::<Vec<_>>());
        let loaded = async {
            let config = Arc::new((self.options.load)()?);
            let listen = self.options.listen.as_ref().unwrap_or(&config.serve.listen);
            expect_protected(listen, &config.serve.auth)?;
            // The socket stays the same until a restart.
            expect_protected(&self.bound, &config.serve.auth)?;
            let access = Access::load(&config.serve.auth)?;
            let tls = tls::load(&config.serve)?;
            let identities = identities(self.options.identities, &config).await?;
            // The lock is that of the configuration's path, and this service may hold it already.
            let planner = match self.planner.is_some() && config.serve.schedule {
                true => None,
                false => planner(&config, self.options.may_run)?,
            };
            Ok::<_, Error>((config, (access, tls), identities, planner))
        };
        let loaded = loaded.await;
        let is_loaded = loaded.is_ok();
        match loaded {
            Ok((config, (access, tls), identities, planner)) => {
                self.planner = self.planner.take().filter(|_| config.serve.schedule).or(planner);
                self.schedule_error = None;
                let is_scheduling = self.planner.as_ref().map(|_| true);
                let activity = activity(&config, self.options.may_run);
                self.shared.update(|view| {
                    view.config = Arc::clone(&config);
                    view.access = Arc::new(access);
                    view.tls = tls;
                    view.activity = activity;
                    view.is_scheduling = is_scheduling;
                    view.is_reloaded = true;
                    view.banners.retain(|banner| !banner.starts_with(BANNER));
                });
                self.running_runs = RunningRuns::of(&config);
                self.receivers.configure(received(&config, self.options.may_run));
                self.show_receivers();
                let reader = OverviewReader::new(config, self.options.registry, identities, self.options.tables);
                self.reader = Rc::new(reader);
                (self.options.note)("the configuration was reloaded");
            }
            Err(error) => {
                let banner = format!("{BANNER}{}", error.chain());
                (self.options.note)(&banner);
                self.shared.update(|view| {
                    view.banners.retain(|banner| !banner.starts_with(BANNER));
                    view.banners.push(banner);
                    view.is_reloaded = false;
                });
            }
        }
        notify(&[NotifyState::Ready]);
        is_loaded
    }
}
