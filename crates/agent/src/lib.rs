//! The ACP host: process groups, wire loop, agent catalogue, translation, demo agent
