//! Frames, headers, the guard, and codecs over kafka-protocol.
