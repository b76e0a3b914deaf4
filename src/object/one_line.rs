//! [`OneLine`]: prints the name of a pool within a line.

use std::fmt::{self, Write};

/// Prints a text with its control characters and line separators escaped, so that a name cannot
/// end a line of a log or begin another one.
pub(crate) struct OneLine<'a>(pub(crate) &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| match char {
            '\u{2028}' | '\u{2029}' => write!(f, "{}", char.escape_default()),
            _ if char.is_control() => write!(f, "{}", char.escape_default()),
            _ => f.write_char(char),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::OneLine;

    #[test]
    fn what_ends_a_line_is_escaped_and_the_rest_is_not() {
        let printed = OneLine("a\nb\r\t\u{1b}[31m\u{85}\u{2028}\u{7f} \"ä\" 'c\\").to_string();
        assert_eq!(printed, r#"a\nb\r\t\u{1b}[31m\u{85}\u{2028}\u{7f} "ä" 'c\"#);
    }
}
