//! Directories as people have them: with and without git.

mod files;
mod git;
mod support;
