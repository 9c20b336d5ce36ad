//! Everything in the heap: for tests and throw-away gateways.
