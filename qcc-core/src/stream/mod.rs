//! Watching a stream of server-sent events: framing, the commit decision, the closing events.
//!
//! A status of 200 says little about a streamed answer: it may begin with an error, stop in the
//! middle, or end cleanly without having ended. [`Watcher`] therefore holds a stream until its
//! first meaningful event, passes on whole events only, and calls an end without the terminal
//! evidence of the dialect a break. What an event means is the business of the dialect's
//! [`Rules`]; the framing below it is [`Framer`]. All of it is pure: bytes in, bytes out, no
//! clock, no task.
//!
//! # Examples
//!
//! A dialect of one's own, whose answers end with `event: bye`:
//!
//! ```
//! use bytes::Bytes;
//! use qcc_core::classify::{Progress, Watch};
//! use qcc_core::stream::{Event, Meaning, Rules, Watcher};
//! use qcc_core::time::{self, Instant};
//!
//! #[derive(Clone)]
//! struct Bye(bool);
//!
//! impl Rules for Bye {
//!     fn read(&mut self, event: &Event<'_>, _held: bool, _now: Instant) -> Meaning {
//!         self.0 = event.name == b"bye";
//!         if self.0 { Meaning::End } else { Meaning::Output }
//!     }
//!     fn ended(&self) -> bool {
//!         self.0
//!     }
//!     fn closing(&self) -> Bytes {
//!         Bytes::from_static(b"event: broken\ndata: -\n\n")
//!     }
//! }
//!
//! let mut watcher = Watcher::new(Bye(false));
//! let progress = watcher.data(Bytes::from("data: hi\n\nevent: by"), time::now());
//! assert_eq!(progress, Progress::Commit);
//! assert_eq!(watcher.release().unwrap(), "data: hi\n\n");
//! assert!(watcher.end(time::now()).is_err());
//! assert_eq!(watcher.closing().unwrap(), "event: broken\ndata: -\n\n");
//! ```

mod rules;
mod scan;
mod sse;
mod watcher;

pub use rules::{Meaning, Rules, stopped};
pub use sse::{Event, Framer, TooLong};
pub use watcher::{HOLD, Watcher};
