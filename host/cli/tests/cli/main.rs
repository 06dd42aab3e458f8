//! The binary, driven as a process: what it prints where, and how it exits.

mod bad_input;
mod catalog;
mod map;
mod node;
mod run;
mod support;
mod usage;
