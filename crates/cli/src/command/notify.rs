//! `longshore notify`: test the channels of notices.

use longshore_core::Result;
use longshore_engine::notices::Notifier;

use crate::args::notify::Notify;
use crate::command::Context;
use crate::exit_code::Exit;

pub(super) async fn notify(context: &Context, args: &Notify) -> Result<Exit> {
    let Notify::Test(test) = args;
    Notifier::of(&context.config).test(&test.channel).await?;
    context.output.line(format_args!("sent a test to \"{}\"", test.channel));
    Ok(Exit::Done)
}
