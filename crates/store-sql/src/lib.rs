//! SQL text and row mapping, written once for every SQL database
