//! `[security]`: network and authentication rules.

use std::time::Duration;

use super::section::Section;

/// Upper limit of `fail_static` (spec/security.md 4.3).
const LONGEST_FAIL_STATIC: Duration = Duration::from_secs(300);

/// `[security]`: network and authentication rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Security {
    /// Whether BYO providers may use private addresses.
    pub tenant_private_upstreams: bool,
    /// Failed authentications per minute and source address above which unknown keys get 429.
    pub failed_auth_per_minute: u32,
    /// Time during which virtual keys are accepted although revocations cannot be checked.
    pub fail_static: Duration,
}

impl Default for Security {
    /// Defaults of DESIGN.md section 3.
    fn default() -> Self {
        Self { tenant_private_upstreams: false, failed_auth_per_minute: 600, fail_static: Duration::from_secs(60) }
    }
}

/// Reads `[security]`.
pub(super) fn read(root: &mut Section<'_>) -> Security {
    let mut security = Security::default();
    if let Some(mut section) = root.section("security") {
        security.tenant_private_upstreams = section.flag("tenant_private_upstreams").unwrap_or(false);
        if let Some(number) = section.number("failed_auth_per_minute", 1..=u64::from(u32::MAX)) {
            security.failed_auth_per_minute = number.try_into().unwrap_or(u32::MAX);
        }
        security.fail_static = section.duration_up_to("fail_static", LONGEST_FAIL_STATIC).unwrap_or(security.fail_static);
        section.done();
    }
    security
}
