//! A deterministic network simulator.
