//! Small forms of text: sizes, times and durations as people write and read them.
//!
//! Owns the syntax of `--from @TIME`, `--timeout 30s`, `--rate 10k` and of escapes in separators. Pure: the current time
//! is an argument.

use std::time::Duration;

use jiff::{Span, Timestamp, Zoned, civil};

/// `1536` as `1.5 KiB`.
pub(crate) fn bytes(count: i64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count.unsigned_abs() < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value.abs() < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// `30s`, `5m`, `250ms`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let span: Span = text.parse().map_err(|_| format!("{text:?} is no duration: write 250ms, 30s, 5m or 1h30m"))?;
    let signed = span
        .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
        .map_err(|_| format!("{text:?} is too long: use hours at most"))?;
    Duration::try_from(signed).map_err(|_| format!("{text:?} is negative"))
}

/// Milliseconds since 1970 of `text`: such a number, RFC 3339, a date, a date and time here, or a duration ago.
pub(crate) fn time(text: &str, now: &Zoned) -> Result<i64, String> {
    if let Ok(millis) = text.parse::<i64>() {
        return Ok(millis);
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp.as_millisecond());
    }
    let here = |local: civil::DateTime| {
        local.to_zoned(now.time_zone().clone()).map(|zoned| zoned.timestamp().as_millisecond()).ok()
    };
    if let Some(millis) = text.parse::<civil::DateTime>().ok().and_then(here) {
        return Ok(millis);
    }
    if let Some(millis) = text.parse::<civil::Date>().ok().and_then(|date| here(date.at(0, 0, 0, 0))) {
        return Ok(millis);
    }
    if let Some(ago) = text.strip_prefix('-')
        && let Ok(ago) = duration(ago)
    {
        return Ok(now.timestamp().as_millisecond().saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)));
    }
    Err(format!(
        "{text:?} is no time: write 2026-11-22T08:00:00Z, 2026-11-22, -90m for 90 minutes ago, or milliseconds"
    ))
}

/// RFC 3339 in UTC, with milliseconds.
pub(crate) fn rfc3339(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |time| format!("{time:.3}"))
}

/// `10`, `10k`, `1.5M`: how many per second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is no rate: write records per second, like 500 or 10k");
    let (number, factor) = match text.chars().last() {
        Some('k' | 'K') => (&text[..text.len() - 1], 1e3),
        Some('m' | 'M') => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    let rate = number.parse::<f64>().map_err(|_| wrong())? * factor;
    if rate.is_finite() && rate > 0.0 { Ok(rate) } else { Err(wrong()) }
}

/// `\n`, `\r`, `\t`, `\0`, `\\` and `\xHH`.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'\\' {
            out.push(first);
            continue;
        }
        let Some((&kind, after)) = rest.split_first() else {
            return Err(format!("{text:?} ends in a single backslash"));
        };
        rest = after;
        match kind {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'0' => out.push(0),
            b'\\' => out.push(b'\\'),
            b'x' => {
                let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                out.push(byte.ok_or_else(|| format!("{text:?}: \\x needs two hexadecimal digits"))?);
                rest = &rest[2..];
            }
            other => return Err(format!("{text:?}: \\{} is no escape", char::from(other))),
        }
    }
    Ok(out)
}

/// The member of `known` that `text` was probably meant to be.
pub(crate) fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |name: &&str| strsim::damerau_levenshtein(text, name);
    known.into_iter().min_by_key(distance).filter(|name| distance(name) <= 1 + text.len() / 4)
}

/// `NAME=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err(format!("{text:?} is not of the form NAME=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn times_are_read_in_every_form() {
        let now: Zoned = "2026-11-22T12:00:00+02:00[+02:00]".parse().unwrap();
        let noon = now.timestamp().as_millisecond();
        let cases = [
            ("1700000000000", 1_700_000_000_000),
            ("2026-11-22T10:00:00Z", noon),
            ("2026-11-22T12:00:00", noon),
            ("2026-11-22", noon - 12 * 3_600_000),
            ("-90m", noon - 90 * 60_000),
            ("-1h30m", noon - 90 * 60_000),
        ];
        for (text, expected) in cases {
            assert_eq!(time(text, &now), Ok(expected), "{text}");
        }
        for text in ["", "yesterday", "-", "2026-13-01"] {
            assert!(time(text, &now).is_err(), "{text:?}");
        }
    }

    #[test]
    fn durations_rates_and_sizes() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(duration("-3s").is_err() && duration("3").is_err());
        assert_eq!((rate("10k"), rate("0.5")), (Ok(10_000.0), Ok(0.5)));
        assert!(rate("0").is_err() && rate("-1").is_err() && rate("fast").is_err() && rate("").is_err());
        assert_eq!([bytes(0), bytes(1536), bytes(1 << 30)], ["0 B", "1.5 KiB", "1.0 GiB"]);
        assert_eq!(rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    }

    #[test]
    fn escapes_are_bytes() {
        assert_eq!(unescape(r"a\t\x00\\n\n").unwrap(), b"a\t\0\\n\n");
        for text in [r"\", r"\x0", r"\q", r"\xzz", "\\xé"] {
            assert!(unescape(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_mistyped_name_finds_its_neighbour() {
        let known = ["retention.ms", "retention.bytes", "cleanup.policy"];
        assert_eq!(nearest("retentoin.ms", known), Some("retention.ms"));
        assert_eq!(nearest("zzz", known), None);
    }
}
