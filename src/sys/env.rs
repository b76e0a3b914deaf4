//! Reads `REPOOL` from the environment (which pools are switched off from their first use on), and `REPOOL_DEPOTS`
//! (how many depots a pool has).
//!
//! Each is read once, when the first pool asks, and never on the hit path.

use crate::sync::rare::OnceLock;

/// The parsed variable.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    AllOff,
    /// The pools with these names are off.
    Off(Vec<String>),
}

/// Whether `REPOOL` says that the pool of this name is off.
pub(crate) fn is_off(name: Option<&str>) -> bool {
    // Computed first and then set: a child that is forked while a `OnceLock` initializes would wait forever.
    static SAID: OnceLock<Said> = OnceLock::new();
    let said = SAID.get().unwrap_or_else(|| {
        let text = std::env::var_os("REPOOL").unwrap_or_default();
        let parsed = match text.to_str() {
            Some(text) => parse(text),
            None => Err("not UTF-8"),
        };
        let said = *parsed.as_ref().err().unwrap_or(&"");
        // If several threads race, only one prints the message.
        if SAID.set(parsed.unwrap_or(Said::Nothing)).is_ok() && !said.is_empty() {
            eprintln!(
                "repool: REPOOL={text:?} is {said}; no pool is switched off. Use off, or off:name,name."
            );
        }
        SAID.get().expect("set by some thread")
    });
    match said {
        Said::Nothing => false,
        Said::AllOff => true,
        Said::Off(names) => name.is_some_and(|name| names.iter().any(|off| off == name)),
    }
}

/// Returns the number that `REPOOL_DEPOTS` asks for, if it is from 1 to `most`. To be called once.
pub(crate) fn depots(most: usize) -> Option<usize> {
    let text = std::env::var_os("REPOOL_DEPOTS")?;
    let asked = text.to_str().and_then(|text| parse_number(text, most));
    if asked.is_none() {
        eprintln!(
            "repool: REPOOL_DEPOTS={text:?} is not a number from 1 to {most}, and is ignored."
        );
    }
    asked
}

fn parse_number(text: &str, most: usize) -> Option<usize> {
    let number = text.trim().parse().ok();
    number.filter(|number| (1..=most).contains(number))
}

/// `off`, `off:name,name`, `on`, or nothing.
fn parse(text: &str) -> Result<Said, &'static str> {
    let (word, names) = match text.split_once(':') {
        Some((word, names)) => (word, Some(names)),
        None => (text, None),
    };
    match (word.trim(), names) {
        ("" | "on", None) => Ok(Said::Nothing),
        ("off", None) => Ok(Said::AllOff),
        ("off", Some(names)) => {
            let names: Vec<_> = names
                .split(',')
                .map(|name| name.trim().to_owned())
                .collect();
            if names.iter().any(String::is_empty) {
                return Err("a list with an empty name");
            }
            Ok(Said::Off(names))
        }
        _ => Err("not understood"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Said, parse, parse_number};

    fn off(names: &[&str]) -> Result<Said, &'static str> {
        Ok(Said::Off(names.iter().copied().map(String::from).collect()))
    }

    #[test]
    fn words_and_lists_are_understood() {
        assert_eq!(parse(""), Ok(Said::Nothing));
        assert_eq!(parse("on"), Ok(Said::Nothing));
        assert_eq!(parse(" off "), Ok(Said::AllOff));
        assert_eq!(parse("off:frames"), off(&["frames"]));
        assert_eq!(parse("off: a b , c:d"), off(&["a b", "c:d"]));
    }

    #[test]
    fn numbers_are_within_bounds() {
        let asked = ["1", " 16 ", "0", "17", "-1", "2.0", ""];
        let expected = [Some(1), Some(16), None, None, None, None, None];
        assert_eq!(asked.map(|text| parse_number(text, 16)), expected);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "0", "false", "OFF", "off:", "off:a,,b", "off:a,", ":a", "on:a", "offf",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
