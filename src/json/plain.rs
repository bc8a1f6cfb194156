//! Members of an object without checks beyond syntax, for answers, which are for the client to judge.

use super::limits::JsonLimits;
use super::member::Member;
use super::scan;

/// Calls `each` with key and value of every top-level member of one JSON object, as they are spelled and in their order. Returns
/// `None` if the text is not a JSON object or a key has escapes; the text may then be valid all the same, which serde_json decides.
pub fn members<'a>(bytes: &'a [u8], mut each: impl FnMut(&'a [u8], &'a [u8])) -> Option<()> {
    let mut is_plain = true;
    let found = |Member { unescaped, key, value }| {
        is_plain &= unescaped.is_none();
        each(&bytes[key.start + 1..key.end - 1], &bytes[value]);
    };
    scan::members(bytes, JsonLimits::NONE, found).ok()?;
    is_plain.then_some(())
}
