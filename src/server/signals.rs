//! Signals of the process: SIGHUP reloads, SIGTERM and SIGINT stop.
//!
//! The crate handles them itself, because actix would stop the system before the ledger has
//! flushed.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Handlers of the signals that the process reacts to.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Installs the handlers. From then on none of these signals ends the process by itself.
    ///
    /// # Errors
    /// The system's error if a handler cannot be installed.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Calls `reload` for each SIGHUP and `stop` for the first SIGTERM or SIGINT. Returns at the
    /// second, when the process must exit without waiting: the journal makes that safe.
    pub async fn handle(mut self, reload: impl AsyncFn(), stop: impl FnOnce()) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => reload().await,
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
            }
        }
        stop();
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;
    use std::time::Duration;

    use rustix::process::{Signal as Number, getpid, kill_process};
    use tokio::time::{sleep, timeout};

    use super::*;

    /// The only test that raises signals: they reach the whole process.
    #[actix_web::test]
    async fn hangup_reloads_the_first_stop_signal_stops_and_the_second_ends_the_wait() {
        let events = Rc::new(RefCell::new(Vec::new()));
        let record = |event: &'static str| {
            let events = Rc::clone(&events);
            move || events.borrow_mut().push(event)
        };
        let (reloaded, stopped) = (record("reload"), record("stop"));
        let is_over = Rc::new(Cell::new(false));
        let over = Rc::clone(&is_over);
        let signals = Signals::new().unwrap();
        let handling = actix_web::rt::spawn(async move {
            signals.handle(async || reloaded(), stopped).await;
            over.set(true);
        });
        let raise = async |number: Number, expected: &[&str]| {
            kill_process(getpid(), number).unwrap();
            let arrived = async {
                while events.borrow().len() < expected.len() {
                    sleep(Duration::from_millis(2)).await;
                }
            };
            timeout(Duration::from_secs(10), arrived).await.expect("the signal had no effect");
            assert_eq!(*events.borrow(), expected);
        };
        raise(Number::HUP, &["reload"]).await;
        raise(Number::HUP, &["reload", "reload"]).await;
        raise(Number::INT, &["reload", "reload", "stop"]).await;
        assert!(!is_over.get());
        kill_process(getpid(), Number::TERM).unwrap();
        timeout(Duration::from_secs(10), handling).await.expect("the second signal had no effect").unwrap();
        assert!(is_over.get());
    }
}
