//! Time-outs that cost nothing where there is nothing to wait for.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

/// What `future` gives, if it does so within `patience`. Unlike tokio's own time-out this looks at no clock when the future is
/// ready at once, as most reads of a body are: its first piece has come with its head. It is pinned by the caller: what is awaited
/// by value is held twice, as an argument and as what is polled.
pub async fn within<F: Future>(patience: Duration, mut future: Pin<&mut F>) -> Option<F::Output> {
    match poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
        Poll::Ready(output) => Some(output),
        Poll::Pending => timeout(patience, future).await.ok(),
    }
}

/// What `future` gives, if it does so before `due`. What is not ready at first is asked once more before a timer is set: the server
/// calls a handler as soon as a head is in, and hands on the body that came with it right after.
pub async fn by<F: Future>(due: Instant, mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut is_asked_again = false;
    let soon = poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Pending if !std::mem::replace(&mut is_asked_again, true) => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        polled => Poll::Ready(polled),
    });
    match soon.await {
        Poll::Ready(output) => Some(output),
        Poll::Pending => timeout_at(due, future).await.ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::pin;

    use super::*;

    #[actix_web::test]
    async fn whatever_is_ready_is_given_and_nothing_is_waited_for_longer() {
        const LONG: Duration = Duration::from_secs(3_600);
        assert_eq!(within(Duration::ZERO, pin!(ready(1))).await, Some(1));
        assert_eq!(within(LONG, pin!(tokio::task::yield_now())).await, Some(()));
        assert_eq!(within(Duration::from_millis(1), pin!(pending::<()>())).await, None);
    }

    #[actix_web::test]
    async fn whatever_is_ready_when_asked_again_is_given_and_nothing_is_waited_for_longer() {
        let now = Instant::now();
        assert_eq!(by(now, pin!(ready(1))).await, Some(1));
        assert_eq!(by(now, pin!(tokio::task::yield_now())).await, Some(()));
        assert_eq!(by(now + Duration::from_millis(1), pin!(pending::<()>())).await, None);
        let later = async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        };
        assert_eq!(by(now + Duration::from_secs(3_600), pin!(later)).await, Some(()));
    }
}
