//! File, environment and flags → validated [`Settings`].

mod settings;

pub use settings::*;
