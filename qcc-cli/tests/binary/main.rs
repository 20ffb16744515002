//! The binary as people, programs and systems run it: with its arguments, its files, its ports.

#![cfg(unix)]

mod client;
mod command_line;
mod folder;
mod handbook;
mod hostile;
#[cfg(target_os = "linux")]
mod http2;
mod operate;
mod process;
mod proxy;
mod recovery;
mod reload;
mod run;
mod serve;
mod service;
mod simulate;
mod simulator;
mod store;
mod tokens;
mod world;
