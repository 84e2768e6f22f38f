//! Durations and sizes as people write them.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use sessiond_store_postgres::Address;

use super::ConfigError;

/// A duration: `90`, `"90s"`, `"250ms"`, `"10m"`, `"1h"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(pub Duration);

/// A number of bytes: `1048576`, `"512KiB"`, `"32MiB"`, `"1GiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// Where sessions are kept, as it was written. It may hold a password: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreText(String);

impl From<String> for StoreText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl StoreText {
    /// The database; `None` for the one of the data directory (`sqlite`).
    pub(super) fn parse(&self) -> Result<Option<Address>, ConfigError> {
        let wrong = |reason: String| ConfigError::Value {
            key: "store",
            reason,
        };
        match self.0.as_str() {
            "sqlite" => Ok(None),
            text if Address::is_one(text) => {
                text.parse().map(Some).map_err(|e| wrong(format!("{e}")))
            }
            // What was written may hold a password.
            _ => Err(wrong(
                "must be `postgres://user@host:port/database`, or `sqlite` for the data directory"
                    .into(),
            )),
        }
    }
}

impl fmt::Debug for StoreText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreText(…)")
    }
}

impl<'de> Deserialize<'de> for StoreText {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d).map(Self)
    }
}

/// A value with a unit: `(unit, how many of the smallest)`.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = units
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?
        .1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

impl Period {
    const EXPECTED: &str = "a duration such as \"30s\", \"10m\" or \"1h\", or a number of seconds";

    fn parse(text: &str) -> Option<Self> {
        let units = [
            ("ms", 1),
            ("s", 1000),
            ("", 1000),
            ("m", 60_000),
            ("min", 60_000),
            ("h", 3_600_000),
        ];
        with_unit(text, &units).map(|ms| Self(Duration::from_millis(ms)))
    }
}

impl Size {
    const EXPECTED: &str = "a size such as \"512KiB\" or \"32MiB\", or a number of bytes";

    fn parse(text: &str) -> Option<Self> {
        let units = [
            ("", 1),
            ("b", 1),
            ("kib", 1 << 10),
            ("mib", 1 << 20),
            ("gib", 1 << 30),
            ("kb", 1000),
            ("mb", 1_000_000),
            ("gb", 1_000_000_000),
        ];
        with_unit(text, &units).map(Self)
    }
}

/// Reads an integer or a text by the same `parse`.
struct Quantity<T> {
    parse: fn(&str) -> Option<T>,
    expected: &'static str,
}

impl<T> Visitor<'_> for Quantity<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<T, E> {
        self.visit_str(&v.to_string())
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<T, E> {
        self.visit_str(&v.to_string())
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<T, E> {
        (self.parse)(v).ok_or_else(|| E::custom(format_args!("`{v}` is not {}", self.expected)))
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Quantity {
            parse: Self::parse,
            expected: Self::EXPECTED,
        })
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Quantity {
            parse: Self::parse,
            expected: Self::EXPECTED,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let ms = |text| Period::parse(text).map(|p| p.0.as_millis());
        assert_eq!(ms("90"), Some(90_000));
        assert_eq!(ms("250ms"), Some(250));
        assert_eq!(ms("10 m"), Some(600_000));
        assert_eq!(ms("1h"), Some(3_600_000));
        for bad in ["", "s", "-1s", "1.5h", "1 day", "99999999999999999999"] {
            assert_eq!(ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes() {
        let bytes = |text| Size::parse(text).map(|s| s.0);
        assert_eq!(bytes("32MiB"), Some(32 << 20));
        assert_eq!(bytes("10kb"), Some(10_000));
        assert_eq!(bytes("7"), Some(7));
        assert_eq!(bytes("99999999999GiB"), None);
        assert_eq!(bytes("1 apple"), None);
    }
}
