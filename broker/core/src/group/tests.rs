//! The coordinator against a log and a table in memory: what happens when, told as stories.

mod failure;
mod harness;
mod membership;
mod offsets;
mod random;
mod records;
mod room;
mod statics;
