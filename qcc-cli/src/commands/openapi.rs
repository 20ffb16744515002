//! `qcc openapi`.

use crate::admin;
use crate::output::{Exit, Failure, Output};

/// Prints the document, which is JSON for people and programs alike.
pub(super) fn run() -> Result<Exit, Failure> {
    Output::new(true).show(&admin::openapi_document(), |_| Ok(()))?;
    Ok(Exit::Success)
}
