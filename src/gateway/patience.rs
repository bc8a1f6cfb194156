//! Time-outs that cost nothing where there is nothing to wait for.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;

/// What `future` gives, if it does so within `patience`. Unlike tokio's own time-out this looks at no clock when the future is
/// ready at once, as most reads of a body are: its first piece has come with its head.
pub async fn within<F: Future>(patience: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    match poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
        Poll::Ready(output) => Some(output),
        Poll::Pending => timeout(patience, future).await.ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[actix_web::test]
    async fn whatever_is_ready_is_given_and_nothing_is_waited_for_longer() {
        const LONG: Duration = Duration::from_secs(3_600);
        assert_eq!(within(Duration::ZERO, ready(1)).await, Some(1));
        assert_eq!(within(LONG, tokio::task::yield_now()).await, Some(()));
        assert_eq!(within(Duration::from_millis(1), pending::<()>()).await, None);
    }
}
