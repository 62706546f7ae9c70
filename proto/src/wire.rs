//! Takes single fields out of protobuf bytes as they were received. Signatures are checked over the rest, so that fields
//! which this version does not know stay covered and do no harm.

use prost::encoding::{decode_varint, encode_varint};

/// `message` without the top-level field `number`, everything else as it came; none when it is no protobuf.
pub fn without_field(message: &[u8], number: u64) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(message.len());
    for field in fields(message) {
        let field = field?;
        if field.number != number {
            out.extend_from_slice(field.raw);
        }
    }
    Some(out)
}

/// `message` without field `inner` of its sub-message `outer`.
pub fn without_nested_field(message: &[u8], outer: u64, inner: u64) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(message.len());
    for field in fields(message) {
        let field = field?;
        match field.content {
            Some(content) if field.number == outer => {
                let kept = without_field(content, inner)?;
                encode_varint(outer << 3 | 2, &mut out);
                encode_varint(kept.len() as u64, &mut out);
                out.extend_from_slice(&kept);
            }
            _ => out.extend_from_slice(field.raw),
        }
    }
    Some(out)
}

struct Field<'a> {
    number: u64,
    /// Tag and value.
    raw: &'a [u8],
    /// The value of a length-delimited field.
    content: Option<&'a [u8]>,
}

/// The fields of a message; the first item that is none is `None` and ends the sequence.
fn fields(message: &[u8]) -> impl Iterator<Item = Option<Field<'_>>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = next_field(&mut rest);
        if field.is_none() {
            rest = &[];
        }
        Some(field)
    })
}

fn next_field<'a>(rest: &mut &'a [u8]) -> Option<Field<'a>> {
    let start = *rest;
    let tag = decode_varint(rest).ok()?;
    let mut content = None;
    match tag & 7 {
        0 => drop(decode_varint(rest).ok()?),
        1 => *rest = rest.get(8..)?,
        2 => {
            let length = usize::try_from(decode_varint(rest).ok()?).ok()?;
            content = Some(rest.get(..length)?);
            *rest = &rest[length..];
        }
        5 => *rest = rest.get(4..)?,
        _ => return None,
    }
    Some(Field { number: tag >> 3, raw: &start[..start.len() - rest.len()], content })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_taken_out_and_the_rest_is_untouched() {
        // 1: {1: "a", 4: "sign", 99: 7}, 2: "b", 100: "x"
        let message = b"\x0a\x0c\x0a\x01a\x22\x04sign\x98\x06\x07\x12\x01b\xa2\x06\x01x";
        assert_eq!(
            without_nested_field(message, 1, 4).unwrap(),
            b"\x0a\x06\x0a\x01a\x98\x06\x07\x12\x01b\xa2\x06\x01x"
        );
        assert_eq!(without_field(message, 1).unwrap(), b"\x12\x01b\xa2\x06\x01x");
    }

    #[test]
    fn broken_bytes_are_no_message() {
        for broken in [&[0x0a, 0x05, 1][..], &[0x0a], &[0x0b], &[0x80; 11], &[0x09, 1]] {
            assert_eq!(without_nested_field(broken, 1, 4), None);
        }
        assert_eq!(without_nested_field(&[], 1, 4), Some(Vec::new()));
    }
}
