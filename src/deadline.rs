//! Timeouts that read no clock and arm no timer while the future is ready at once.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

/// Returns the output of `future`, or `None` if it takes longer than `limit`.
///
/// Like [`tokio::time::timeout`], but polls once before arming a timer: most body reads are ready at once, because the first
/// chunk arrives with the head. Takes a pinned future because a by-value argument would be stored twice in the caller's state
/// machine.
pub async fn timeout_lazy<F: Future>(limit: Duration, mut future: Pin<&mut F>) -> Option<F::Output> {
    match poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
        Poll::Ready(output) => Some(output),
        Poll::Pending => timeout(limit, future).await.ok(),
    }
}

/// Returns the output of `future`, or `None` if it is not ready at `deadline`.
///
/// Polls twice before arming a timer: the server calls a handler as soon as the head is complete, and delivers the body that
/// arrived with it right afterwards.
pub async fn timeout_at_lazy<F: Future>(deadline: Instant, mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut is_second_poll = false;
    let early = poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Pending if !std::mem::replace(&mut is_second_poll, true) => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        polled => Poll::Ready(polled),
    });
    match early.await {
        Poll::Ready(output) => Some(output),
        Poll::Pending => timeout_at(deadline, future).await.ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::pin;

    use super::*;

    #[actix_web::test]
    async fn a_ready_output_is_returned_and_a_pending_one_times_out() {
        const LONG: Duration = Duration::from_secs(3_600);
        assert_eq!(timeout_lazy(Duration::ZERO, pin!(ready(1))).await, Some(1));
        assert_eq!(timeout_lazy(LONG, pin!(tokio::task::yield_now())).await, Some(()));
        assert_eq!(timeout_lazy(Duration::from_millis(1), pin!(pending::<()>())).await, None);
    }

    #[actix_web::test]
    async fn an_output_ready_at_the_second_poll_is_returned_and_a_pending_one_times_out() {
        let now = Instant::now();
        assert_eq!(timeout_at_lazy(now, pin!(ready(1))).await, Some(1));
        assert_eq!(timeout_at_lazy(now, pin!(tokio::task::yield_now())).await, Some(()));
        assert_eq!(timeout_at_lazy(now + Duration::from_millis(1), pin!(pending::<()>())).await, None);
        let later = async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        };
        assert_eq!(timeout_at_lazy(now + Duration::from_secs(3_600), pin!(later)).await, Some(()));
    }
}
