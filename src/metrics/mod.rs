//! Prometheus registry and the functions that observe.
