//! Finds the parts of a form between its delimiters.

use std::ops::Range;

use memchr::memmem;

use super::error::FormError;

/// Maximum number of parts.
const MAX_PARTS: usize = 64;

/// Maximum size of the head of a part in bytes.
const MAX_HEAD: usize = 8 << 10;

/// Returns the span of each part, without delimiters and the line breaks that belong to them.
///
/// # Errors
/// The body does not consist of parts, or a delimiter is not on a line of its own.
pub(super) fn parts(body: &[u8], delimiter: &[u8]) -> Result<Vec<Range<usize>>, FormError> {
    let error = |what, at| Err(FormError { what, at });
    if !body.starts_with(delimiter) {
        return error("expected the boundary", 0);
    }
    let (mut parts, mut start) = (Vec::new(), None);
    // Delimiters hold no line breaks, so no match can hide another one at the start of a line.
    for at in memmem::find_iter(body, delimiter) {
        let before = &body[..at];
        match before.last() {
            None | Some(b'\n') => {}
            Some(b'\r') => return error("bare line break before a boundary", at),
            Some(_) => continue,
        }
        if let Some(start) = start {
            // The line break of an empty line is not the one of the delimiter.
            let end = at.checked_sub(2).filter(|end| before.ends_with(b"\r\n") && *end >= start);
            let Some(end) = end else { return error("bare line break before a boundary", at) };
            if parts.len() == MAX_PARTS {
                return error("too many parts", at);
            }
            parts.push(start..end);
        }
        let after = at + delimiter.len();
        match &body[after..] {
            [b'\r', b'\n', ..] => start = Some(after + 2),
            [b'-', b'-', rest @ ..] if start.is_some() => {
                let has_epilogue = !rest.iter().all(u8::is_ascii_whitespace);
                return if has_epilogue { error("data after the last boundary", after + 2) } else { Ok(parts) };
            }
            _ => return error("boundary that is not on a line of its own", at),
        }
    }
    error("missing final boundary", body.len())
}

/// Splits a part into its head, without the empty line, and its content.
///
/// # Errors
/// The head does not end within its limit.
pub(super) fn split(body: &[u8], part: Range<usize>) -> Result<(Range<usize>, Range<usize>), FormError> {
    let error = |what| FormError { what, at: part.start };
    let head = &body[part.start..part.end.min(part.start + MAX_HEAD)];
    let end = part.start + memmem::find(head, b"\r\n\r\n").ok_or(error("missing or too large head of a part"))?;
    Ok((part.start..end, end + 4..part.end))
}
