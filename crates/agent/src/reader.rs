//! Lines of an agent, up to a cap.
