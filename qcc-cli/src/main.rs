//! The qcc command.
mod explain;
mod moment;
mod records;

fn main() {}
