//! The encoding of labels and fields that keys and blobs are bound to (spec/security.md, "Words").

use super::names::LONGEST_NAME;

/// Encoder of `ctx(label, fields…)`. Every part is prefixed with its length, so that different
/// lists of parts never encode to the same bytes.
pub struct Fields {
    bytes: Vec<u8>,
    is_valid: bool,
}

impl Fields {
    /// Starts the context of a key with its label.
    pub fn of(label: &'static str) -> Self {
        Self::after(&[], label)
    }

    /// Starts a context that follows `header`.
    pub fn after(header: &[u8], label: &'static str) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(header);
        Self { bytes, is_valid: true }.field([label.as_bytes()])
    }

    /// Appends an id or a name.
    pub fn name(self, name: &str) -> Self {
        self.prefixed_name("", name)
    }

    /// Appends an id with a prefix that tells its kind.
    pub fn prefixed_name(mut self, prefix: &'static str, name: &str) -> Self {
        self.is_valid &= !name.is_empty() && name.len() <= LONGEST_NAME && name.is_ascii();
        self.field([prefix.as_bytes(), name.as_bytes()])
    }

    /// Appends a number, big-endian.
    pub fn number(self, number: u32) -> Self {
        self.field([&number.to_be_bytes()[..]])
    }

    /// Marks the context as invalid.
    pub fn invalid(mut self) -> Self {
        self.is_valid = false;
        self
    }

    /// Returns the encoding; `None` if a name is empty, too long or not ASCII, or the context is
    /// invalid.
    pub fn finish(self) -> Option<Vec<u8>> {
        self.is_valid.then_some(self.bytes)
    }

    /// Appends `lp`: the length in two bytes, big-endian, then the parts joined.
    fn field<const N: usize>(mut self, parts: [&[u8]; N]) -> Self {
        match u16::try_from(parts.iter().map(|part| part.len()).sum::<usize>()) {
            Ok(len) => {
                self.bytes.extend_from_slice(&len.to_be_bytes());
                parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
                self
            }
            Err(_) => self.invalid(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(names: &[String]) -> Option<Vec<u8>> {
        names.iter().fold(Fields::of("l"), |fields, name| fields.name(name)).finish()
    }

    #[test]
    fn a_context_is_label_and_fields_with_length_prefixes() {
        let fields = Fields::after(b"AGW1", "l").name("acme").prefixed_name("tk:", "x").number(1);
        assert_eq!(fields.finish().unwrap(), b"AGW1\0\x01l\0\x04acme\0\x04tk:x\0\x04\0\0\0\x01");
    }

    #[test]
    fn an_invalid_name_makes_the_context_invalid() {
        for name in ["", "ä", &"x".repeat(65), &"x".repeat(70_000)] {
            assert_eq!(encoded(&[name.to_owned()]), None);
        }
        assert!(encoded(&["x".repeat(64)]).is_some());
    }

    proptest! {
        #[test]
        fn p4_different_lists_of_fields_encode_differently(one in prop::collection::vec("[a-b\\x00-\\x03]{1,4}", 0..5), other in prop::collection::vec("[a-b\\x00-\\x03]{1,4}", 0..5)) {
            prop_assert_eq!(encoded(&one) == encoded(&other), one == other);
        }

        #[test]
        fn p4_a_shifted_field_boundary_is_another_context(joined in "[a-z]{2,20}", one in 1usize..19, other in 1usize..19) {
            let split = |at: usize| { let (left, right) = joined.split_at(at.min(joined.len() - 1)); [left.to_owned(), right.to_owned()] };
            prop_assert_eq!(encoded(&split(one)) == encoded(&split(other)), split(one) == split(other));
        }
    }
}
