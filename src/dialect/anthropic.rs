//! The Messages API.
use super::*;
/// Anthropic Messages.
pub struct Anthropic;
impl Dialect for Anthropic {
    fn name(&self) -> &'static str {
        "anthropic"
    }
    fn path(&self, _: Operation) -> Option<&'static str> {
        todo!("interface")
    }
    fn request(&self, _: &Ask<'_>) -> Result<Prepared, Refused> {
        todo!("interface")
    }
    fn failure(&self, _: u16, _: &[u8]) -> Failure {
        todo!("interface")
    }
}
