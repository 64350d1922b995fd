//! What every postier runtime shares and is not pure.

pub mod clock;
pub mod disk;
