//! Runs blocking work off the workers.

use actix_web::web;

use super::error::ControlError;

/// Runs `work` on the pool of blocking threads.
///
/// # Errors
/// If the pool is shut down or `work` panics.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ControlError> {
    web::block(work).await.map_err(|_| ControlError::Interrupted)
}
