//! From the client to those who work for it: they learn that it has gone.
//!
//! One is made for each request and almost none is ever cut. `CancellationToken`, which does the same for many who wait, takes a
//! lock each time it is cloned, waited for and dropped.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;

/// The end of those who work. One of them at a time waits.
#[derive(Clone, Debug)]
pub struct ClientGone(Arc<Shared>);

/// The client's end: dropped, it cuts the line.
#[derive(Debug)]
pub struct DisconnectGuard(Option<Arc<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    is_closed: AtomicBool,
    waits: AtomicWaker,
}

impl ClientGone {
    /// A line and the hold on it.
    pub fn new() -> (Self, DisconnectGuard) {
        let line = Arc::<Shared>::default();
        (Self(Arc::clone(&line)), DisconnectGuard(Some(line)))
    }

    /// Waits until the client has gone.
    pub async fn closed(&self) {
        let is_closed = || self.0.is_closed.load(Ordering::Acquire);
        poll_fn(|cx| {
            if is_closed() {
                return Poll::Ready(());
            }
            self.0.waits.register(cx.waker());
            // It may have been cut before anybody could be told.
            if is_closed() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl DisconnectGuard {
    /// There is nothing left to cut off: the work is done.
    pub fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for DisconnectGuard {
    fn drop(&mut self) {
        if let Some(line) = &self.0 {
            line.is_closed.store(true, Ordering::Release);
            line.waits.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[actix_web::test]
    async fn whoever_waits_learns_that_the_client_has_gone_before_or_after() {
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
    fn a_line_that_is_released_is_never_cut() {
        let (line, hold) = ClientGone::new();
        hold.disarm();
        assert_eq!(line.closed().now_or_never(), None);
    }
}
