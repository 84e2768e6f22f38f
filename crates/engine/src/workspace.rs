//! Directories and the projects they belong to.
