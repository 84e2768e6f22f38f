//! Configuration, authentication, wiring and graceful shutdown
