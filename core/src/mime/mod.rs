//! Mail as a format: header fields, addresses, dates.
pub mod address;
pub mod date;
pub mod header;
pub mod header_scanner;
