//! Small forms of text for tables.
//!
//! Owns how times look; how columns do is `ottla-columns`', and what is in them each verb's.

use jiff::Timestamp;
pub(crate) use ottla_columns::{Columns, or_dash};

/// How long ago, in its two largest units at most: `3d`, `5h12m`, `40s`.
pub(crate) fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m"),
        (0, hours, minutes) => format!("{hours}h{minutes}m"),
        (days @ 1..=2, hours, _) => format!("{days}d{hours}h"),
        (days, ..) => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let then = Timestamp::UNIX_EPOCH;
        for (seconds, words) in
            [(0, "0s"), (59, "59s"), (61, "1m"), (3661, "1h1m"), (90_000, "1d1h"), (864_000, "10d"), (-5, "0s")]
        {
            assert_eq!(ago(then, Timestamp::from_second(seconds).unwrap()), words);
        }
    }
}
