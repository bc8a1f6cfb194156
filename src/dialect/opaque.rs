//! The reader of answers that pass unread: audio and other binary bodies.

use bytes::Bytes;

use super::failure::Failure;
use super::reader::{Flow, Observed, Reader};

/// Passes an answer byte by byte. It reports no usage.
#[derive(Debug, Default)]
pub struct OpaqueReader {
    has_begun: bool,
}

impl Reader for OpaqueReader {
    fn whole(&mut self, body: Bytes) -> Result<Bytes, Failure> {
        Ok(body)
    }

    /// The first byte counts as the first event.
    fn push(&mut self, piece: Bytes, out: &mut Vec<Bytes>) -> Flow {
        if !piece.is_empty() {
            self.has_begun = true;
            out.push(piece);
        }
        if self.has_begun { Flow::Flowing } else { Flow::Opening }
    }

    /// Only the transport can tell whether such an answer is complete.
    fn end(&mut self, _: &mut Vec<Bytes>) -> Flow {
        Flow::Done
    }

    fn observed(&self) -> Observed {
        Observed::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_piece_passes_as_it_is(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..8)) {
            let (mut reader, mut out) = (OpaqueReader::default(), Vec::new());
            for (nth, piece) in pieces.iter().enumerate() {
                let has_begun = pieces[..=nth].iter().any(|piece| !piece.is_empty());
                let expected = if has_begun { Flow::Flowing } else { Flow::Opening };
                prop_assert_eq!(reader.push(Bytes::from(piece.clone()), &mut out), expected);
            }
            prop_assert_eq!(reader.end(&mut out), Flow::Done);
            prop_assert_eq!((out.concat(), reader.observed()), (pieces.concat(), Observed::default()));
        }
    }

    #[test]
    fn a_whole_answer_passes_whatever_it_holds() {
        assert_eq!(OpaqueReader::default().whole(Bytes::from_static(b"{\xff")), Ok(Bytes::from_static(b"{\xff")));
    }
}
