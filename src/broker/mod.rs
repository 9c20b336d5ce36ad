//! The facade that handlers call: effects across domains, waiters of long polls.
