//! The first words of a PostgreSQL server, with one offer taken out.
//!
//! A server that speaks TLS offers to bind the authentication to its certificate (`SCRAM-SHA-256-PLUS`). libpq, which does not
//! know that there is TLS, would take that for a stripped connection and give up. The certificate was verified here.

/// Passes bytes on, until the server has said how to authenticate.
#[derive(Default)]
pub struct Greeting {
    held: Vec<u8>,
    is_over: bool,
}

/// Longer messages come later.
const LONGEST: usize = 64 * 1024;
const SASL: [u8; 4] = [0, 0, 0, 10];
const BINDING: &[u8] = b"SCRAM-SHA-256-PLUS";

impl Greeting {
    /// Takes what has come, and puts into `out` what may go on.
    pub fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.is_over {
            out.extend_from_slice(bytes);
            return;
        }
        self.held.extend_from_slice(bytes);
        while let Some(length) = self.message() {
            let message: Vec<u8> = self.held.drain(..length).collect();
            // Before it says how to authenticate, a server may only say which version of the protocol it speaks.
            self.is_over = message.first() != Some(&b'v');
            match message.get(1 + 4..) {
                Some(body) if message.first() == Some(&b'R') && body.starts_with(&SASL) => without_binding(body, out),
                _ => out.extend_from_slice(&message),
            }
            if self.is_over {
                out.append(&mut self.held);
                return;
            }
        }
    }

    /// The length of the message held, if it is whole; all there is, if it is none.
    fn message(&self) -> Option<usize> {
        let length = self.held.get(1..5)?;
        let length = 1 + length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        if !(5..=LONGEST).contains(&length) {
            return Some(self.held.len());
        }
        (length <= self.held.len()).then_some(length)
    }
}

/// The list of ways to authenticate, each ended by a NUL and all by another.
fn without_binding(body: &[u8], out: &mut Vec<u8>) {
    let offers = body.get(SASL.len()..).unwrap_or_default().split(|byte| *byte == 0);
    let mut shorter = SASL.to_vec();
    for offer in offers.filter(|offer| !offer.is_empty() && *offer != BINDING) {
        shorter.extend_from_slice(offer);
        shorter.push(0);
    }
    shorter.push(0);
    out.push(b'R');
    out.extend_from_slice(&u32::try_from(shorter.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&shorter);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut message = vec![kind];
        message.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        message.extend_from_slice(body);
        message
    }

    /// Passed in pieces of `size`.
    fn passed(bytes: &[u8], size: usize) -> Vec<u8> {
        let (mut greeting, mut out) = (Greeting::default(), Vec::new());
        bytes.chunks(size).for_each(|piece| greeting.pass(piece, &mut out));
        out
    }

    #[test]
    fn the_offer_to_bind_is_taken_out_and_nothing_else_however_the_bytes_come() {
        let version = message(b'v', &[0, 3, 0, 0, 0, 0, 0, 0]);
        let later = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0\0");
        let offered = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
        let expected = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        for size in 1..offered.len() + 30 {
            assert_eq!(passed(&[offered.clone(), later.clone()].concat(), size), [expected.clone(), later.clone()].concat());
            assert_eq!(passed(&[version.clone(), offered.clone()].concat(), size), [version.clone(), expected.clone()].concat());
        }
    }

    #[test]
    fn whatever_else_a_server_says_first_passes() {
        for bytes in [
            message(b'R', &[0, 0, 0, 0]),
            message(b'R', b"\0\0\0\x05salt"),
            message(b'E', b"SFATAL\0\0"),
            b"Eold servers say text\n\0".to_vec(),
        ] {
            for size in [1, 3, 100] {
                assert_eq!(passed(&[bytes.clone(), b"more".to_vec()].concat(), size), [bytes.clone(), b"more".to_vec()].concat());
            }
        }
    }
}
