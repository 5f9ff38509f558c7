//! Whether an object already is what it should be.
//!
//! Owns the comparison: everything that is wanted has to be there, whatever else is there is somebody else's. Pure. Must
//! never call two different things equal.

use std::cmp::Ordering;

use serde_json::Value;

/// Whether `found` has everything that `wanted` says.
pub(super) fn covers(found: &Value, wanted: &Value) -> bool {
    includes(found, wanted, false)
}

/// `amounts`: strings here are Kubernetes quantities, which the API server gives back in another notation.
fn includes(found: &Value, wanted: &Value, amounts: bool) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted.iter().all(|(key, value)| {
            let amounts = amounts || matches!(key.as_str(), "requests" | "limits");
            found.get(key).is_some_and(|found| includes(found, value, amounts))
                || value.as_object().is_some_and(|map| map.is_empty())
        }),
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len()
                && found.iter().zip(wanted).all(|(found, wanted)| includes(found, wanted, amounts))
        }
        (Value::String(found), Value::String(wanted)) => {
            found == wanted || amounts && compare_amounts(found, wanted) == Some(Ordering::Equal)
        }
        (found, wanted) => found == wanted,
    }
}

/// Which of two quantities is more; `None` if one of them is none.
pub(super) fn compare_amounts(one: &str, other: &str) -> Option<Ordering> {
    Some(thousandths(one)?.cmp(&thousandths(other)?))
}

/// A quantity in thousandths, the finest that Kubernetes counts, rounded up.
fn thousandths(text: &str) -> Option<u128> {
    const SUFFIXES: [(&str, u128, u128); 16] = [
        ("n", 1, 1_000_000),
        ("u", 1, 1000),
        ("m", 1, 1),
        ("Ki", 1 << 10, 0),
        ("Mi", 1 << 20, 0),
        ("Gi", 1 << 30, 0),
        ("Ti", 1 << 40, 0),
        ("Pi", 1 << 50, 0),
        ("Ei", 1 << 60, 0),
        ("k", 1000, 0),
        ("M", 1_000_000, 0),
        ("G", 1_000_000_000, 0),
        ("T", 1_000_000_000_000, 0),
        ("P", 1_000_000_000_000_000, 0),
        ("E", 1_000_000_000_000_000_000, 0),
        ("", 1, 0),
    ];
    let (number, (_, factor, divisor)) =
        SUFFIXES.iter().find_map(|suffix| Some((text.strip_suffix(suffix.0)?, suffix)))?;
    // A divisor of 0 is a whole unit: a thousand thousandths.
    let (factor, divisor) = if *divisor == 0 { (factor.checked_mul(1000)?, 1) } else { (*factor, *divisor) };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    Some(digits.checked_mul(factor)?.div_ceil(scale.checked_mul(divisor)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_add_does_not_matter() {
        let found = json!({"a": 1, "b": {"c": "x", "d": "y"}, "list": [{"e": 1, "f": 2}]});
        assert!(covers(&found, &json!({"b": {"c": "x"}, "list": [{"e": 1}]})));
        assert!(covers(&found, &json!({"missing": {}})), "the API server leaves empty maps out");
        assert!(!covers(&found, &json!({"b": {"c": "z"}})));
        assert!(!covers(&found, &json!({"list": [{"e": 1}, {"e": 2}]})));
        assert!(!covers(&found, &json!({"missing": 1})));
    }

    #[test]
    fn amounts_are_compared_by_what_they_come_to() {
        let found = json!({"resources": {"requests": {"storage": "1Gi", "cpu": "1"}}});
        assert!(covers(&found, &json!({"resources": {"requests": {"storage": "1024Mi", "cpu": "1000m"}}})));
        assert!(!covers(&found, &json!({"resources": {"requests": {"storage": "1025Mi"}}})));
        assert!(!covers(&json!({"label": "1"}), &json!({"label": "1000m"})), "elsewhere a string is a string");
        assert_eq!(compare_amounts("1.5Gi", "1536Mi"), Some(Ordering::Equal));
        assert_eq!(compare_amounts("1G", "1Gi"), Some(Ordering::Less));
        assert_eq!(compare_amounts("1", "x"), None);
    }
}
