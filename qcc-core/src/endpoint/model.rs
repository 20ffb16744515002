/// A pattern of model names. `*` stands for anything, letters match in any case, and a pattern
/// without `*` matches as a prefix.
#[derive(Clone, Debug)]
pub(super) struct ModelPattern(Box<str>);

impl ModelPattern {
    pub(super) fn new(pattern: &str) -> Self {
        Self(pattern.into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn matches(&self, model: &str) -> bool {
        let mut left = model.as_bytes();
        let mut parts = self.0.as_bytes().split(|&byte| byte == b'*');
        let first = parts.next().unwrap_or_default();
        if !starts_with(left, first) {
            return false;
        }
        left = &left[first.len()..];
        let mut last = None;
        for part in parts {
            if let Some(middle) = last.replace(part) {
                match find(left, middle) {
                    Some(at) => left = &left[at + middle.len()..],
                    None => return false,
                }
            }
        }
        last.is_none_or(|last| {
            left.len() >= last.len() && left[left.len() - last.len()..].eq_ignore_ascii_case(last)
        })
    }
}

fn starts_with(text: &[u8], start: &[u8]) -> bool {
    text.len() >= start.len() && text[..start.len()].eq_ignore_ascii_case(start)
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    (0..=text.len().checked_sub(part.len())?).find(|&at| starts_with(&text[at..], part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_pattern_matches_as_prefix_or_glob_in_any_case() {
        for (pattern, model, expected) in [
            ("claude-", "Claude-opus", true),
            ("claude-*", "claude-opus", true),
            ("*-mini", "gpt-5-mini", true),
            ("*-mini", "gpt-5-mini-x", false),
            ("gpt-*-mini", "GPT-5-mini", true),
            ("gpt-*-mini", "gpt-mini", false),
            ("*a*b*", "xaxbx", true),
            ("*a*b*", "xbxax", false),
            ("*", "", true),
            ("gpt-", "claude-opus", false),
        ] {
            assert_eq!(
                ModelPattern::new(pattern).matches(model),
                expected,
                "{pattern} {model}"
            );
        }
    }
}
