//! Made-up answers.
use super::*;
/// Deterministic answers in process.
pub struct Simulator;
impl Dialect for Simulator {
    fn name(&self) -> &'static str {
        "simulator"
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
