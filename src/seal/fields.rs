//! The encoding of labels and fields that keys and blobs are bound to (spec/security.md, "Words").

use super::names::LONGEST_NAME;

/// Encodes `ctx(label, fields…)`: each part behind its length, so that no two lists of parts make the same bytes.
pub struct Fields {
    bytes: Vec<u8>,
    is_sound: bool,
}

impl Fields {
    /// The context of a key: its label.
    pub fn of(label: &'static str) -> Self {
        Self::behind(&[], label)
    }

    /// A context that follows other bytes.
    pub fn behind(header: &[u8], label: &'static str) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(header);
        Self { bytes, is_sound: true }.field([label.as_bytes()])
    }

    /// An id or a name.
    pub fn name(self, name: &str) -> Self {
        self.marked_name("", name)
    }

    /// An id that says in front of what sort it is.
    pub fn marked_name(mut self, mark: &'static str, name: &str) -> Self {
        self.is_sound &= !name.is_empty() && name.len() <= LONGEST_NAME && name.is_ascii();
        self.field([mark.as_bytes(), name.as_bytes()])
    }

    /// A number, big-endian.
    pub fn number(self, number: u32) -> Self {
        self.field([&number.to_be_bytes()[..]])
    }

    /// Makes it the context of nothing.
    pub fn refused(mut self) -> Self {
        self.is_sound = false;
        self
    }

    /// The encoding; `None` if a name is empty, too long or not ASCII, or if it was refused.
    pub fn finish(self) -> Option<Vec<u8>> {
        self.is_sound.then_some(self.bytes)
    }

    /// `lp`: length in two bytes, big-endian, then the parts as one.
    fn field<const N: usize>(mut self, parts: [&[u8]; N]) -> Self {
        match u16::try_from(parts.iter().map(|part| part.len()).sum::<usize>()) {
            Ok(len) => {
                self.bytes.extend_from_slice(&len.to_be_bytes());
                parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
                self
            }
            Err(_) => self.refused(),
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
    fn a_context_is_label_and_fields_behind_their_lengths() {
        let fields = Fields::behind(b"AGW1", "l").name("acme").marked_name("tk:", "x").number(1);
        assert_eq!(fields.finish().unwrap(), b"AGW1\0\x01l\0\x04acme\0\x04tk:x\0\x04\0\0\0\x01");
    }

    #[test]
    fn a_name_that_no_id_can_be_is_no_context() {
        for name in ["", "ä", &"x".repeat(65), &"x".repeat(70_000)] {
            assert_eq!(encoded(&[name.to_owned()]), None);
        }
        assert!(encoded(&["x".repeat(64)]).is_some());
    }

    proptest! {
        #[test]
        fn p4_no_two_lists_of_fields_encode_alike(one in prop::collection::vec("[a-b\\x00-\\x03]{1,4}", 0..5), other in prop::collection::vec("[a-b\\x00-\\x03]{1,4}", 0..5)) {
            prop_assert_eq!(encoded(&one) == encoded(&other), one == other);
        }

        #[test]
        fn p4_a_shifted_field_boundary_is_another_context(joined in "[a-z]{2,20}", one in 1usize..19, other in 1usize..19) {
            let split = |at: usize| { let (left, right) = joined.split_at(at.min(joined.len() - 1)); [left.to_owned(), right.to_owned()] };
            prop_assert_eq!(encoded(&split(one)) == encoded(&split(other)), split(one) == split(other));
        }
    }
}
