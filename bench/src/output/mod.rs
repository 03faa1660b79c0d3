//! What is made of a run: text, files for other tools, comparisons and a report.
//!
//! All of it is pure: a [`crate::run::Run`] goes in, text comes out.

mod units;
mod hist;
mod hgrm;
mod hlog;
mod csv;
mod json;
mod figure;
mod threshold;
#[cfg(test)]
mod sample;
