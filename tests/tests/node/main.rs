//! A real node, driven through its public API over a socket, by the client that users have.

mod examples;
mod hostile;
mod support;
mod values;
