//! How people write a script.

use qcc_core::simulate::{Behaviour, InvalidBehaviour, Script};
use qcc_core::time::Duration;

/// A text that is no script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidScript {
    /// One of its behaviours is none.
    #[error(transparent)]
    Behaviour(#[from] InvalidBehaviour),
    /// One of its steps does not say when it begins.
    #[error(
        "`@{0}` does not say when which behaviour begins; \
         write it like `@3 status:503` or `@60s ok`"
    )]
    Step(String),
}

/// Reads a script: a behaviour, then steps that each take its place from a request (`@3`) or a
/// time (`@60s`, `@500ms`) on: `ok @3 status:503 @60s ok`.
///
/// # Errors
///
/// It has a behaviour that is none, or a step without a beginning.
pub(crate) fn parse_script(text: &str) -> Result<Script, InvalidScript> {
    let mut parts = text.split(" @");
    let first: Behaviour = parts.next().unwrap_or_default().parse()?;
    parts.try_fold(Script::new(first), |script, part| {
        let step = || InvalidScript::Step(part.to_owned());
        let (begin, behaviour) = part.split_once(' ').ok_or_else(step)?;
        if let Ok(number) = begin.parse() {
            return Ok(script.from_request(number, behaviour.parse()?));
        }
        let time = parse_duration(begin).ok_or_else(step)?;
        Ok(script.after(time, behaviour.parse()?))
    })
}

fn parse_duration(text: &str) -> Option<Duration> {
    if let Some(millis) = text.strip_suffix("ms") {
        return millis.parse().ok().map(Duration::from_millis);
    }
    text.strip_suffix('s')?
        .parse()
        .ok()
        .map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    // SIM-02
    #[test]
    fn a_script_is_a_behaviour_and_what_takes_its_place() {
        let unavailable: Behaviour = "status:503;message=come back later".parse().unwrap();
        let expected = Script::new(Behaviour::Ok)
            .from_request(3, unavailable)
            .after(Duration::from_millis(1500), Behaviour::Reset)
            .after(Duration::from_secs(60), Behaviour::Ok);
        let text = "ok @3 status:503;message=come back later @1500ms reset @60s ok";
        assert_eq!(parse_script(text).unwrap(), expected);
        assert_eq!(parse_script("ok").unwrap(), Script::default());
    }

    #[test]
    fn what_is_no_script_is_named() {
        for (text, named) in [
            ("", "``"),
            ("okay", "`okay`"),
            ("ok @3", "`@3`"),
            ("ok @soon reset", "`@soon reset`"),
            ("ok @3 odd", "`odd`"),
        ] {
            let error = parse_script(text).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
