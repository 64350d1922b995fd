//! Tests of whole sessions: transcripts, any segmentation, arbitrary answers, and a model of a client's view.

mod backpressure;
mod bad_input;
mod bench;
mod model;
mod properties;
mod results;
mod script;
mod transcripts;

pub(super) use transcripts::NAMES as TRANSCRIPTS;
