//! Checks of single values.

use serde_json::{Map, Value};

use crate::limits::METADATA_MAX;
use crate::problem::Problem;

/// A text of at most `max` characters without NUL, which databases refuse.
pub(crate) fn text(field: &str, value: &str, max: usize) -> Result<(), Problem> {
    if value.contains('\0') {
        return Err(Problem::invalid(
            field,
            "Expected a text without NUL characters",
        ));
    }
    // Counting is only needed where bytes do not already say it.
    if value.len() > max && value.chars().count() > max {
        return Err(Problem::invalid(
            field,
            format!("Expected at most {max} characters"),
        ));
    }
    Ok(())
}

/// At most `max` things.
pub(crate) fn at_most(field: &str, count: usize, max: usize) -> Result<(), Problem> {
    if count > max {
        return Err(Problem::invalid(
            field,
            format!("Expected at most {max} items, got {count}"),
        ));
    }
    Ok(())
}

/// A number between two bounds, both included.
pub(crate) fn in_range<T: Copy + PartialOrd + std::fmt::Display>(
    field: &str,
    value: T,
    min: T,
    max: T,
) -> Result<T, Problem> {
    if value < min || value > max {
        return Err(Problem::invalid(
            field,
            format!("Expected a number from {min} to {max}, got {value}"),
        ));
    }
    Ok(value)
}

/// A metadata map that is not too large.
pub(crate) fn metadata(map: &Map<String, Value>) -> Result<(), Problem> {
    let size = serde_json::to_vec(map).map_or(usize::MAX, |json| json.len());
    if size > METADATA_MAX {
        let reason = format!("Expected at most {METADATA_MAX} bytes of JSON, got {size}");
        return Err(Problem::invalid("metadata", reason));
    }
    Ok(())
}
