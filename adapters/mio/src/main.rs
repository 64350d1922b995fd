//! The postier server.
fn main() {}
