//! The universal path.
use super::*;
/// OpenAI's own language, spoken by most providers.
pub struct OpenAi;
impl Dialect for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
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
