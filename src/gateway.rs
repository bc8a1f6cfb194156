//! The half that serves traffic.
