//! File names of segments.

use std::fmt;

/// File name of a segment: `<instance>-<worker>-<sequence>.journal`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentName {
    /// Id of the instance that wrote it.
    pub instance: String,
    /// Number of the worker that wrote it.
    pub worker: usize,
    /// Number of the segment among those of the worker; the first is 1.
    pub sequence: u32,
}

impl SegmentName {
    /// Parses a file name. Returns `None` for a file that is not a segment.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".journal")?.rsplitn(3, '-');
        let sequence = parts.next()?.parse().ok()?;
        let worker = parts.next()?.parse().ok()?;
        let instance = parts.next().filter(|instance| !instance.is_empty())?.to_owned();
        Some(Self { instance, worker, sequence })
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:03}-{:06}.journal", self.instance, self.worker, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_names_are_parsed_as_they_are_formatted() {
        let name = SegmentName { instance: "0190aa".into(), worker: 7, sequence: 1_000_000 };
        assert_eq!(SegmentName::parse(&name.to_string()), Some(name));
        for other in ["x.lock", "a-1.journal", "-1-1.journal", "a-b-c.journal", "a-001-000001.journal.unreadable", ""] {
            assert_eq!(SegmentName::parse(other), None, "{other}");
        }
    }
}
