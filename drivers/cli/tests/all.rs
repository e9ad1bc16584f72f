//! The program as users run it, and its state machines by themselves.

mod machines;
mod program;
