//! Where Tidegate is meant to answer otherwise than Kafka 4.1.

/// A part of Kafka's reply in all steps whose title contains `step`, and what stands there in Tidegate's.
#[derive(Debug)]
pub struct Difference {
    pub scenario: &'static str,
    pub step: &'static str,
    pub kafka: &'static str,
    pub tidegate: &'static str,
    /// In the words of docs/protocol.md.
    pub reason: &'static str,
}

pub const KNOWN: &[Difference] = &[];
