//! The signal that the client of a request has closed its connection.
//!
//! Each request has one, and almost none is ever raised. `CancellationToken` does the same for many
//! waiters, but takes a lock each time it is cloned, awaited and dropped.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;

/// Receiver of the signal. At most one clone may wait at a time.
#[derive(Clone, Debug)]
pub struct ClientGone(Arc<DisconnectSignal>);

/// Sender of the signal: raises it when dropped.
#[derive(Debug)]
pub struct DisconnectGuard(Option<Arc<DisconnectSignal>>);

#[derive(Debug, Default)]
struct DisconnectSignal {
    is_closed: AtomicBool,
    waiter: AtomicWaker,
}

impl ClientGone {
    /// Creates a receiver and its sender.
    pub fn new() -> (Self, DisconnectGuard) {
        let shared = Arc::<DisconnectSignal>::default();
        (Self(Arc::clone(&shared)), DisconnectGuard(Some(shared)))
    }

    /// Waits until the client is gone.
    pub async fn closed(&self) {
        let is_closed = || self.0.is_closed.load(Ordering::Acquire);
        poll_fn(|cx| {
            if is_closed() {
                return Poll::Ready(());
            }
            self.0.waiter.register(cx.waker());
            // It may have been raised before the waker was registered.
            if is_closed() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl DisconnectGuard {
    /// Drops the sender without a signal: the request is finished.
    pub fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for DisconnectGuard {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            shared.is_closed.store(true, Ordering::Release);
            shared.waiter.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[actix_web::test]
    async fn a_waiter_gets_the_signal_whether_it_came_before_or_after() {
        let (line, hold) = ClientGone::new();
        assert_eq!(line.closed().now_or_never(), None);
        let waits = actix_web::rt::spawn({
            let line = line.clone();
            async move { line.closed().await }
        });
        tokio::task::yield_now().await;
        drop(hold);
        waits.await.unwrap();
        assert_eq!(line.closed().now_or_never(), Some(()));
    }

    #[test]
    fn a_disarmed_guard_raises_no_signal() {
        let (line, hold) = ClientGone::new();
        hold.disarm();
        assert_eq!(line.closed().now_or_never(), None);
    }
}
