//! imap.
