//! A deterministic world for postier's core: the whole server in one thread, with a virtual clock, a network, a disk
//! that loses what was not synced, other programs in the Maildir, and many clients.
//!
//! * [`scenario`]: a seed says what will happen.
//! * [`world`]: it happens; [`mod@env`], [`network`], [`disk`], [`process`] are what it is made of, [`actors`] who acts.
//! * [`internet`]: other servers and DNS, for the worlds that send.
//! * [`ledger`]: what was promised and shown, and the judgement; [`imap`]: what clients hear, read strictly.
//! * [`shrink`]: a failing scenario without what it does not need.
//! * [`plant`]: faults that tests plant to see that they are found.
//!
//! ```
//! use std::collections::BTreeSet;
//! let scenario = postier_sim::scenario::Scenario::generate(1, &BTreeSet::new());
//! let report = postier_sim::world::run(scenario, Default::default(), None);
//! assert_eq!(report.violations, Vec::<String>::new());
//! ```
//!
//! What it does not cover: the real kernel and its file systems, real TLS, threads, the binary's command line. The
//! end-to-end tests of the `postier` crate do.

pub mod actors;
pub mod disk;
pub mod env;
pub mod imap;
pub mod internet;
pub mod ledger;
pub mod message;
pub mod network;
pub mod plant;
pub mod process;
pub mod rng;
pub mod scenario;
pub mod shrink;
pub mod trace;
pub mod world;
