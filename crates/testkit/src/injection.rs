//! One fault in one numbered call of an operation.
//!
//! A first run without a fault counts the calls. Further runs inject each fault into each call, and
//! the caller checks the result. An [`Injector`] numbers the calls of everything that shares it,
//! such as the [`faulty_store::FaultyStore`] stores of a test.

pub mod faulty_store;

use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use longshore_core::{Error, Kind, Result, Stage};
use tokio::sync::watch;

/// A fault of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call fails before it has an effect.
    Fails(Kind),
    /// The call has its effect, and its caller gets an error.
    FailsAfter,
    /// The call has half of its effect, then fails.
    FailsHalf,
    /// The call never returns, and has no effect.
    Hangs,
    /// The call has its effect, and never returns.
    HangsAfter,
    /// The call has half of its effect, and never returns.
    HangsHalf,
    /// The process dies before the call has an effect.
    Kill,
    /// The process dies after the call has had its effect.
    KillAfter,
    /// The process dies in the middle of the call.
    KillHalf,
}

impl Fault {
    /// All faults.
    pub const ALL: [Self; 10] = [
        Self::Fails(Kind::Unavailable),
        Self::Fails(Kind::Denied),
        Self::FailsAfter,
        Self::FailsHalf,
        Self::Hangs,
        Self::HangsAfter,
        Self::HangsHalf,
        Self::Kill,
        Self::KillAfter,
        Self::KillHalf,
    ];

    /// Returns true if the process dies.
    pub fn kills(self) -> bool {
        matches!(self, Self::Kill | Self::KillAfter | Self::KillHalf)
    }

    /// Returns true if the call never returns.
    pub fn hangs(self) -> bool {
        matches!(self, Self::Hangs | Self::HangsAfter | Self::HangsHalf)
    }
}

/// A counter of calls that injects one fault into one of them. Clones share the counter.
#[derive(Debug, Clone)]
pub struct Injector(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    killed: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<String>,
    fault: Option<(usize, Fault)>,
    /// True if the call with the fault was made.
    triggered: bool,
}

impl Default for Injector {
    fn default() -> Self {
        Self(Arc::new(Inner { state: Mutex::default(), killed: watch::Sender::new(false) }))
    }
}

impl Injector {
    /// Resets the counter, and sets a fault for the call with a number, counted from 0, or no
    /// fault.
    pub fn arm(&self, fault: Option<(usize, Fault)>) {
        *self.state() = State { fault, ..State::default() };
        self.0.killed.send_replace(false);
    }

    /// Returns a description of each call so far.
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// Returns true if the call with the fault was made.
    pub fn was_triggered(&self) -> bool {
        self.state().triggered
    }

    /// Waits until the process dies of a fault. The caller then drops the operation.
    pub async fn killed(&self) {
        let mut killed = self.0.killed.subscribe();
        // The sender lives as long as this injector.
        if killed.wait_for(|killed| *killed).await.is_err() {
            std::future::pending().await
        }
    }

    /// Starts a call.
    ///
    /// # Errors
    ///
    /// Fails if the fault of this call prevents its effect.
    pub async fn begin(&self, name: String) -> Result<Call> {
        let fault = {
            let mut state = self.state();
            let number = state.calls.len();
            state.calls.push(name.clone());
            let fault = state.fault.filter(|(at, _)| *at == number).map(|(_, fault)| fault);
            state.triggered |= fault.is_some();
            fault
        };
        // A dead process makes no more calls.
        if *self.0.killed.borrow() {
            std::future::pending::<()>().await;
        }
        match fault {
            Some(Fault::Fails(kind)) => return Err(failure(&name, kind)),
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::Kill) => self.die().await,
            _ => {}
        }
        Ok(Call { injector: self.clone(), name, fault })
    }

    async fn die(&self) {
        self.0.killed.send_replace(true);
        std::future::pending().await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }
}

/// A call in progress.
#[derive(Debug)]
pub struct Call {
    injector: Injector,
    name: String,
    fault: Option<Fault>,
}

impl Call {
    /// Returns true if the call should have half of its effect.
    pub fn is_half(&self) -> bool {
        matches!(self.fault, Some(Fault::FailsHalf | Fault::HangsHalf | Fault::KillHalf))
    }

    /// Ends a call after its effect.
    ///
    /// # Errors
    ///
    /// Fails if the fault of this call is an error.
    pub async fn end(self) -> Result<()> {
        match self.fault {
            None => Ok(()),
            Some(Fault::HangsAfter | Fault::HangsHalf) => std::future::pending().await,
            Some(Fault::KillAfter | Fault::KillHalf) => {
                self.injector.die().await;
                Ok(())
            }
            Some(_) => Err(failure(&self.name, Kind::Unavailable)),
        }
    }

    /// Returns the items, or half of them, as a stream, and ends the call after the last item.
    pub fn items<T: Send + 'static>(self, mut items: Vec<Result<T>>) -> BoxStream<'static, Result<T>> {
        if self.is_half() {
            items.truncate(items.len() / 2);
        }
        let end = stream::once(self.end()).filter_map(async |ended| ended.err().map(Err));
        stream::iter(items).chain(end).boxed()
    }
}

fn failure(name: &str, kind: Kind) -> Error {
    Error::new(Stage::Ship, kind, name, "injected failure").hint("none: it is a test")
}
