//! The half that serves traffic.

pub mod connector;
