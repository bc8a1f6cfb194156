//! The start of a PostgreSQL session, with channel binding removed from the offered mechanisms.
//!
//! Over TLS a server offers to bind authentication to its certificate (`SCRAM-SHA-256-PLUS`). libpq
//! does not know about the TLS here and would treat the offer as a downgrade attack and give up.
//! The certificate is verified by the tunnel instead.

/// Filter of the server's messages up to its authentication request.
#[derive(Default)]
pub struct Greeting {
    held: Vec<u8>,
    is_over: bool,
}

/// Maximum length of a message before authentication.
const MAX_MESSAGE: usize = 64 * 1024;
const SASL: [u8; 4] = [0, 0, 0, 10];
const BINDING: &[u8] = b"SCRAM-SHA-256-PLUS";

impl Greeting {
    /// Consumes received bytes and appends those to forward to `out`.
    pub fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.is_over {
            out.extend_from_slice(bytes);
            return;
        }
        self.held.extend_from_slice(bytes);
        while let Some(length) = self.message() {
            let message: Vec<u8> = self.held.drain(..length).collect();
            // Before the authentication request a server may only send NegotiateProtocolVersion.
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

    /// Length of the buffered message if complete; everything buffered if it is not a message.
    fn message(&self) -> Option<usize> {
        let length = self.held.get(1..5)?;
        let length = 1 + length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        if !(5..=MAX_MESSAGE).contains(&length) {
            return Some(self.held.len());
        }
        (length <= self.held.len()).then_some(length)
    }
}

/// Writes the authentication request without the mechanism. Each mechanism ends with NUL, and so
/// does the list.
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

    /// The output for input in chunks of `size`.
    fn passed(bytes: &[u8], size: usize) -> Vec<u8> {
        let (mut greeting, mut out) = (Greeting::default(), Vec::new());
        bytes.chunks(size).for_each(|piece| greeting.pass(piece, &mut out));
        out
    }

    #[test]
    fn only_channel_binding_is_removed_for_any_split_of_the_bytes() {
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
    fn other_first_messages_pass_unchanged() {
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
