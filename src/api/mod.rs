//! The API table, dispatch and one handler a file.
