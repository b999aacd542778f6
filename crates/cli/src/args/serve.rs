//! The arguments of `longshore serve`.

use clap::Args as ClapArgs;
use longshore_config::serve::Listen;

use super::Identity;

#[derive(Debug, ClapArgs)]
pub(crate) struct Serve {
    /// Listen on this address and port, or on a socket: unix:PATH [default: that of the
    /// configuration, else 127.0.0.1:8470].
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<Listen>,
    /// Run no jobs, neither by schedule nor on request.
    #[arg(long)]
    pub(crate) no_schedule: bool,
    #[command(flatten)]
    pub(crate) identity: Identity,
}
