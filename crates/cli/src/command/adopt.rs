//! `longshore adopt`: files of other programs.

mod detect;
mod take;

use longshore_core::Result;

use crate::args::adopt::Adopt;
use crate::command::Context;
use crate::exit_code::Exit;

pub(super) async fn adopt(context: &Context, args: &Adopt) -> Result<Exit> {
    match args {
        Adopt::Detect(args) => detect::detect(context, args).await,
        Adopt::Take(args) => take::take(context, args).await,
    }
}
