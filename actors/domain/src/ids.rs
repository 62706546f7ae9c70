//! Which identifiers are admitted at the edge. It decides only; it never rewrites an id, and it is no place for escaping:
//! keys and values that hold several ids escape or length-prefix them, so separators (`:`, `|`) are harmless here.

/// Longest tenant id, in bytes.
pub const MAX_TENANT_BYTES: usize = 64;
/// Longest user, device or group id, in bytes of UTF-8.
pub const MAX_ID_BYTES: usize = 256;

/// Why an identifier is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("is empty or blank")]
    Empty,
    #[error("has {bytes} bytes, at most {max} are allowed")]
    TooLong { bytes: usize, max: usize },
    #[error("contains a control character")]
    ControlCharacter,
    #[error("contains a character outside [A-Za-z0-9._-]")]
    IllegalCharacter,
}

/// True when `text` is empty or holds only Unicode white space.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(char::is_whitespace)
}

/// Checks a tenant id: `[A-Za-z0-9._-]{1,64}`, which is also legal inside a Kafka topic name.
pub fn check_tenant(id: &str) -> Result<(), IdError> {
    check_length(id, MAX_TENANT_BYTES)?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if id.bytes().all(legal) { Ok(()) } else { Err(IdError::IllegalCharacter) }
}

/// Checks a user, device or group id: 1..=256 bytes, not blank, no control character (Unicode category Cc).
pub fn check_id(id: &str) -> Result<(), IdError> {
    check_length(id, MAX_ID_BYTES)?;
    if id.chars().any(char::is_control) {
        return Err(IdError::ControlCharacter);
    }
    if is_blank(id) { Err(IdError::Empty) } else { Ok(()) }
}

fn check_length(id: &str, max: usize) -> Result<(), IdError> {
    match id.len() {
        0 => Err(IdError::Empty),
        bytes if bytes > max => Err(IdError::TooLong { bytes, max }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_are_letters_digits_dot_underscore_dash() {
        let long = "t".repeat(65);
        let cases = [
            ("t1", Ok(())),
            ("A.b_c-9", Ok(())),
            (&long[..64], Ok(())),
            ("", Err(IdError::Empty)),
            (&long, Err(IdError::TooLong { bytes: 65, max: 64 })),
            ("a:b", Err(IdError::IllegalCharacter)),
            ("a|b", Err(IdError::IllegalCharacter)),
            ("a b", Err(IdError::IllegalCharacter)),
            ("ä", Err(IdError::IllegalCharacter)),
            ("a\n", Err(IdError::IllegalCharacter)),
        ];
        for (id, want) in cases {
            assert_eq!(check_tenant(id), want, "{id:?}");
        }
    }

    #[test]
    fn other_ids_may_hold_anything_but_control_characters_and_blanks() {
        let long = "张".repeat(86);
        let cases = [
            ("u1", Ok(())),
            ("user|a:b{c}", Ok(())),
            (" padded ", Ok(())),
            ("张三", Ok(())),
            ("", Err(IdError::Empty)),
            ("  ", Err(IdError::Empty)),
            ("\u{3000}", Err(IdError::Empty)),
            ("a\0b", Err(IdError::ControlCharacter)),
            ("a\r\n", Err(IdError::ControlCharacter)),
            ("\u{7f}", Err(IdError::ControlCharacter)),
            ("\u{85}", Err(IdError::ControlCharacter)),
            (&long, Err(IdError::TooLong { bytes: 258, max: 256 })),
        ];
        for (id, want) in cases {
            assert_eq!(check_id(id), want, "{id:?}");
        }
        assert_eq!(check_id(&"x".repeat(256)), Ok(()));
    }

    #[test]
    fn blank_is_empty_or_unicode_white_space() {
        let cases = [("", true), (" \t\n", true), ("\u{a0}\u{2003}", true), ("\u{200b}", false), (" x ", false)];
        for (text, want) in cases {
            assert_eq!(is_blank(text), want, "{text:?}");
        }
    }

    #[test]
    fn errors_read_as_the_end_of_a_sentence() {
        assert_eq!(IdError::TooLong { bytes: 9, max: 3 }.to_string(), "has 9 bytes, at most 3 are allowed");
        assert_eq!(IdError::Empty.to_string(), "is empty or blank");
    }
}
