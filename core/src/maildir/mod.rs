//! maildir.
