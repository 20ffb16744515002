//! The qcc command.
mod admin;
mod client;
mod commands;
mod explain;
mod metrics;
mod moment;
mod paragraph;
mod records;

fn main() {}
