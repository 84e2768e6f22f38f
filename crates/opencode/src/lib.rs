//! The OpenCode HTTP API, mapped from the domain
