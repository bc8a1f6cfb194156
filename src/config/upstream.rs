//! `[upstream]`: memory limits for upstream answers.

use super::section::Section;

/// `[upstream]`: memory limits for an upstream's answer (spec/security.md 7.4). All in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Longest line of an event stream.
    pub max_line: usize,
    /// Largest event of a stream.
    pub max_event: usize,
    /// Largest answer that is not streamed.
    pub max_body: usize,
    /// Largest body of an error.
    pub max_error_body: usize,
    /// Bytes of a stream that may wait for its client.
    pub stream_buffer: usize,
}

impl Default for UpstreamLimits {
    /// Defaults of spec/security.md 7.4.
    fn default() -> Self {
        Self { max_line: 8 << 20, max_event: 16 << 20, max_body: 64 << 20, max_error_body: 1 << 20, stream_buffer: 256 << 10 }
    }
}

/// Reads `[upstream]`.
pub(super) fn read(root: &mut Section<'_>) -> UpstreamLimits {
    let mut upstream = UpstreamLimits::default();
    if let Some(mut section) = root.section("upstream") {
        let sizes = [
            ("max_line", &mut upstream.max_line),
            ("max_event", &mut upstream.max_event),
            ("max_body", &mut upstream.max_body),
            ("max_error_body", &mut upstream.max_error_body),
            ("stream_buffer", &mut upstream.stream_buffer),
        ];
        for (key, field) in sizes {
            *field = section.bytes(key, 1 << 10..=1 << 32).unwrap_or(*field);
        }
        section.done();
    }
    upstream
}
