//! The half that serves traffic. It never holds the master key and never names the store.
//!
//! The way of a request, and the order to read these files in: [`messages`] are what travels; the [`router`] asks the catalog for
//! a chain and walks it; an [`adapter`] calls one provider through its
//! [`upstream`](crate::upstream), and [`retry`] decides what a failure means; the [`relay`] carries the answer back;
//! [`metering`] says what it used.
//! [`health`] lets a failing provider rest; a [`lifeline`] tells that the client has gone; a [`purse`] pays with tenants' own keys. A [`cell`] is all of this on one worker.

pub mod adapter;
pub mod byo;
pub mod disconnect;
pub mod headers;
pub mod health;
pub mod messages;
pub mod metering;
pub mod redact;
pub mod refusal;
pub mod relay;
pub mod retry;
pub mod router;
pub mod worker;
