//! What every postier runtime shares and is not pure.

pub mod clock;
pub mod config;
pub mod disk;
pub mod dkim;
pub mod files;
pub mod identity;
pub mod lookup;
pub mod memory;
pub mod password;
pub mod pickup;
pub mod privileged;
pub mod report;
pub mod tls;
pub mod users;
