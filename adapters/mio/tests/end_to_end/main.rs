//! The built server from outside: over its sockets, its Maildirs, its signals and its log.
//!
//! Nothing here waits for a fixed time: everything is waited for by what can be seen, up to a bound that only a broken
//! server reaches. Tests that want a foreign program are ignored, with its name; `.ci/run` installs all of them and
//! runs exactly those.

mod adoption;
mod append;
mod beside;
mod clients;
mod connections;
mod crash;
mod dane;
mod delivery;
mod faults;
mod harness;
mod hostile;
mod internet;
mod ledger;
mod load;
mod mailboxes;
mod mime;
mod modseq;
mod mta_sts;
mod neighbours;
mod notify;
mod operation;
mod order;
mod quota;
mod races;
mod readers;
mod scram;
mod sending;
mod sendmail;
mod signing;
mod sorting;
mod storm;
mod submission;
mod trial;
