//! Programs of others that the tests run.
