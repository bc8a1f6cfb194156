//! Bytes of directory records: as text in JSON, raw in binary formats, never in `Debug`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A sealed blob; base64 in JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedBlob(pub Vec<u8>);

/// Lookup value of a virtual key (spec/security.md 1.2); hexadecimal in JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LookupValue(pub [u8; 32]);

impl LookupValue {
    fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn from_hex(text: &str) -> Option<Self> {
        let mut value = [0; 32];
        if text.len() != 2 * value.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, digits) in value.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(value))
    }
}

impl Serialize for SealedBlob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.serialize_str(&STANDARD.encode(&self.0)) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for SealedBlob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Vec::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(|_| D::Error::custom("expected base64"))
    }
}

impl Serialize for LookupValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.serialize_str(&self.to_hex()) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for LookupValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return <[u8; 32]>::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| D::Error::custom("expected 64 hexadecimal digits"))
    }
}

impl fmt::Debug for SealedBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedBlob({} bytes)", self.0.len())
    }
}

impl fmt::Debug for LookupValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LookupValue(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_in_json_and_damaged_text_is_refused() {
        let lookup = LookupValue(std::array::from_fn(|at| at as u8 * 8));
        let text = serde_json::to_string(&lookup).unwrap();
        assert!(text.starts_with("\"0008101820"), "{text}");
        assert_eq!(serde_json::from_str::<LookupValue>(&text).unwrap(), lookup);
        let blob = SealedBlob(vec![0, 255, 1]);
        assert_eq!(serde_json::to_string(&blob).unwrap(), "\"AP8B\"");
        for bad in ["\"\"", "\"00\"", &text.replace("08", "+8"), &text.replace("00", "é")] {
            assert!(serde_json::from_str::<LookupValue>(bad).is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<SealedBlob>("\"not base64\"").is_err());
        assert_eq!(format!("{blob:?} {lookup:?}"), "SealedBlob(3 bytes) LookupValue(…)");
    }
}
