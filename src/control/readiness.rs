//! Readiness of the database: one check at a time, on a thread of its own, whose answer all probes share.
//!
//! Probes need no key, and a database that hangs holds each check for as long as it hangs. So a probe occupies no thread; it
//! waits for the shared answer, and not for long.

use std::io;
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::store::Store;

/// Age up to which an answer is reused.
const FRESH: Duration = Duration::from_millis(500);
/// Longest wait of a probe.
const LIMIT: Duration = Duration::from_secs(2);

/// Shared check of a database. Clones share the thread and its answers.
#[derive(Clone)]
pub struct Readiness {
    requests: SyncSender<()>,
    answers: watch::Receiver<Option<Check>>,
}

#[derive(Clone, Copy, Debug)]
struct Check {
    is_ready: bool,
    finished_at: Instant,
}

impl Readiness {
    /// Starts the thread that checks `store`. It ends with the last clone.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(store: Store) -> io::Result<Self> {
        Self::checking(move || store.ping().is_ok())
    }

    fn checking(check: impl Fn() -> bool + Send + 'static) -> io::Result<Self> {
        let (requests, requested) = mpsc::sync_channel(1);
        let (publish, answers) = watch::channel(None);
        thread::Builder::new().name("aigw-readiness".to_owned()).spawn(move || {
            while requested.recv().is_ok() {
                let check = Check { is_ready: check(), finished_at: Instant::now() };
                if publish.send(Some(check)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { requests, answers })
    }

    /// Whether the database answered half a second ago or does so within two seconds.
    pub async fn is_ready(&self) -> bool {
        let mut answers = self.answers.clone();
        if let Some(check) = *answers.borrow_and_update()
            && check.finished_at.elapsed() < FRESH
        {
            return check.is_ready;
        }
        if matches!(self.requests.try_send(()), Err(TrySendError::Disconnected(()))) {
            return false;
        }
        let answered = timeout(LIMIT, answers.changed()).await;
        matches!(answered, Ok(Ok(()))) && answers.borrow().is_some_and(|check| check.is_ready)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[actix_web::test]
    async fn probes_at_the_same_time_share_one_check() {
        let checks = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&checks);
        let readiness = Readiness::checking(move || counted.fetch_add(1, Ordering::SeqCst) < 100).unwrap();
        let answers = join_all((0..50).map(|_| readiness.is_ready())).await;
        assert!(answers.iter().all(|is_ready| *is_ready));
        assert!(checks.load(Ordering::SeqCst) <= 2);
    }

    #[actix_web::test]
    async fn a_database_that_hangs_is_not_ready_and_holds_one_thread() {
        let (hang, hanging) = mpsc::channel::<()>();
        let readiness = Readiness::checking(move || hanging.recv().is_ok()).unwrap();
        tokio::time::pause();
        let answers = join_all((0..50).map(|_| readiness.is_ready())).await;
        assert!(answers.iter().all(|is_ready| !is_ready));
        drop(hang);
    }
}
