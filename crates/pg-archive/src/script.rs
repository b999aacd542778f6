//! SQL of pg_dump and pg_dumpall.
use std::io::BufRead;

use crate::error::{Error, Result};
use crate::facts::{Facts, Place};
use crate::input::Input;

pub(crate) fn read<R: BufRead>(input: Input<R>, _watch: &mut dyn FnMut(&Place)) -> Result<Facts> {
    Err(Error::unsupported(input.offset(), "script", "not yet"))
}
