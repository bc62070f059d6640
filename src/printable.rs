//! Strings of files, so that terminals show them and do not obey them.

/// The string in one line: control characters and what else cannot be seen are escaped as in Rust and JSON.
pub fn line(text: &str) -> String {
    escaped(text, |_| false)
}

/// The string with its line ends and tabs.
pub fn lines(text: &str) -> String {
    escaped(text, |c| c == '\n' || c == '\t')
}

/// Bytes that are text for the most part: what is no UTF-8 is shown as `\xff`.
pub fn bytes(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in bytes.utf8_chunks() {
        shown += &line(chunk.valid());
        chunk.invalid().iter().for_each(|byte| shown += &format!("\\x{byte:02x}"));
    }
    shown
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            c if is_kept(c) => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_get_nothing_to_obey() {
        assert_eq!(line("a\x1b[2J\r\n\u{9b}\u{202e}é中\"\\"), "a\\u{1b}[2J\\r\\n\\u{9b}\\u{202e}é中\"\\");
        assert_eq!(lines("a\n\tb\x07"), "a\n\tb\\u{7}");
        assert_eq!(bytes(b" \xe4\xb8\xad\xff"), " 中\\xff");
    }
}
