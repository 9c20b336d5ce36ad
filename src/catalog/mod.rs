//! Topics, partitions and their configs; readers see an immutable snapshot.
