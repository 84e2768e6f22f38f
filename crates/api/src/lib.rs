//! The /v1 REST API and its OpenAPI document
