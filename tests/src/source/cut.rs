//! Taking comments, literals and tests out of a file.

use super::paths::tokens;

/// The text with comments and the insides of literals replaced by spaces, byte for byte.
pub(super) fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = if bytes[at..].starts_with(b"//") {
            find(bytes, at, b"\n")
        } else if bytes[at..].starts_with(b"/*") {
            block_comment_end(bytes, at)
        } else if let Some(end) = raw_string_end(bytes, at) {
            end
        } else if bytes[at] == b'"' {
            quoted_end(bytes, at, b'"')
        } else if bytes[at] == b'\'' && is_char(bytes, at) {
            quoted_end(bytes, at, b'\'')
        } else {
            at += 1;
            continue;
        };
        let end = end.min(bytes.len());
        out[at..end]
            .iter_mut()
            .filter(|byte| **byte != b'\n')
            .for_each(|byte| *byte = b' ');
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn find(bytes: &[u8], from: usize, needle: &[u8]) -> usize {
    let found = bytes[from..]
        .windows(needle.len())
        .position(|window| window == needle);
    found.map_or(bytes.len(), |position| from + position)
}

fn block_comment_end(bytes: &[u8], at: usize) -> usize {
    let (mut end, mut depth) = (at + 2, 1);
    while depth > 0 && end < bytes.len() {
        match &bytes[end..] {
            [b'/', b'*', ..] => (depth, end) = (depth + 1, end + 2),
            [b'*', b'/', ..] => (depth, end) = (depth - 1, end + 2),
            _ => end += 1,
        }
    }
    end
}

/// The end of the raw string that begins here, if one does.
fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let part_of_name = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    if part_of_name {
        return None;
    }
    let prefix = [&b"br"[..], b"cr", b"r"]
        .into_iter()
        .find(|p| bytes[at..].starts_with(p))?;
    let hashes = bytes[at + prefix.len()..]
        .iter()
        .take_while(|&&byte| byte == b'#')
        .count();
    let open = at + prefix.len() + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    Some(find(bytes, open + 1, &close) + close.len())
}

fn quoted_end(bytes: &[u8], at: usize, quote: u8) -> usize {
    let mut end = at + 1;
    while end < bytes.len() && bytes[end] != quote {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    end + 1
}

/// Whether the quote begins a character and no lifetime.
fn is_char(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at + 1) {
        Some(b'\\') => true,
        Some(first) => {
            let width = match first {
                0xf0.. => 4,
                0xe0.. => 3,
                0xc0.. => 2,
                _ => 1,
            };
            bytes.get(at + 1 + width) == Some(&b'\'')
        }
        None => false,
    }
}

/// What [`cut_tests`] took away.
#[derive(Default)]
pub(super) struct Cut {
    pub(super) lines: usize,
    /// The modules that have a file of their own.
    pub(super) modules: Vec<String>,
}

/// Blanks every item under `#[cfg(test)]`.
pub(super) fn cut_tests(code: &mut [u8]) -> Cut {
    let mut taken = Cut::default();
    let mut from = 0;
    loop {
        let start = find(code, from, b"#[");
        if start >= code.len() {
            return taken;
        }
        let attribute_end = balanced_end(code, start + 1);
        from = attribute_end;
        let attribute = String::from_utf8_lossy(&code[start..attribute_end]).into_owned();
        let names = |word| tokens(&attribute).iter().any(|token| token.text == word);
        if !(attribute.starts_with("#[cfg(") && names("test") && !names("not")) {
            continue;
        }
        let end = item_end(code, attribute_end);
        let item = String::from_utf8_lossy(&code[attribute_end..end]).into_owned();
        let words = tokens(&item);
        if let Some(at) = words.iter().position(|token| token.text == "mod")
            && words.get(at + 2).is_some_and(|token| token.text == ";")
        {
            taken.modules.push(words[at + 1].text.to_owned());
        }
        let cut = &mut code[start..end];
        taken.lines += 1 + cut.iter().filter(|byte| **byte == b'\n').count();
        cut.iter_mut()
            .filter(|byte| **byte != b'\n')
            .for_each(|byte| *byte = b' ');
        from = end;
    }
}

/// The end of the item that begins here: behind its `;` or its closing brace.
fn item_end(code: &[u8], mut at: usize) -> usize {
    while at < code.len() {
        match code[at] {
            b';' | b',' => return at + 1,
            b'{' => return balanced_end(code, at),
            b'(' | b'[' => at = balanced_end(code, at),
            _ => at += 1,
        }
    }
    at
}

/// The end of the group of brackets that opens here.
fn balanced_end(code: &[u8], at: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code[at..].iter().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + offset + 1;
        }
    }
    code.len()
}
