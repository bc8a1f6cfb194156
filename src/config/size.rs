//! Sizes in TOML: `"20MiB"`.

use bytesize::ByteSize;

/// Parses a size into bytes; `None` if it is invalid.
pub fn parse(text: &str) -> Option<u64> {
    text.parse().ok().map(|ByteSize(bytes)| bytes)
}

/// Formats a size such as `20.0 MiB`.
pub fn text(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_binary_and_decimal_units() {
        for (spelled, bytes) in [("20MiB", Some(20 << 20)), ("1 KiB", Some(1024)), ("2MB", Some(2_000_000)), ("many", None), ("-1B", None)]
        {
            assert_eq!(parse(spelled), bytes, "{spelled}");
        }
        assert_eq!(text(20 << 20), "20.0 MiB");
    }
}
