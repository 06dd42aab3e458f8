//! Guests that must do no harm: each does its worst on a node where another function keeps serving.
//!
//! Every test says the same three things: the bad guest gets the stated answer, its neighbour's answers stay
//! right, and no sandbox is left behind ([`TestNode::beside_others`](crate::support::TestNode::beside_others)
//! checks the last two).

mod bytes;
mod memory;
mod sockets;
mod time;
mod types;
mod uploads;
