//! The SQLite store: one writer thread with group commit, a reader pool, a lock file
