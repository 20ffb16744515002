//! The qcc command.
mod admin;
mod explain;
mod metrics;
mod moment;
mod records;

fn main() {}
