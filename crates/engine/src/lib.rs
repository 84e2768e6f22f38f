//! The core session manager: actors, turns, queue, event hub, recovery
