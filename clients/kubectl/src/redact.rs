//! Taking out what looks like a credential.
//!
//! Owns what looks like one: by the name that it stands under, and by its own form. Where in doubt it is taken out: a bundle that
//! lacks a harmless word is still a bundle. Pure. Must never let through what the tests below forbid.

use serde_json::{Map, Value};

/// What stands in its place.
pub(crate) const REDACTED: &str = "<redacted>";

/// Parts of names under which credentials stand, in small letters and without `-`, `_` and `.`.
const NAMES: [&str; 17] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "apikey",
    "accesskey",
    "privatekey",
    "jaas",
    "authorization",
    "keystorekey",
    "sharedkey",
    "accountkey",
    "sessionkey",
    "connectionstring",
    "bearer",
];
/// Names in which such a word means something else.
const HARMLESS: [&str; 7] = [
    "secretname",
    "secretref",
    "casecret",
    "tokenexpirationseconds",
    "delegationtokenexpiry",
    "delegationtokenmax",
    "tokenbucket",
];
/// Beginnings of words that are credentials wherever they stand: JSON Web Tokens, keys of AWS, GitHub, Slack, GitLab.
const BEGINNINGS: [&str; 9] = ["eyJ", "AKIA", "ASIA", "ghp_", "gho_", "github_pat_", "xoxb-", "xoxp-", "glpat-"];
/// How long such a word is at least.
const WORD_CHARS_MIN: usize = 16;
/// Annotations that repeat a whole object.
const COPIES: [&str; 1] = ["kubectl.kubernetes.io/last-applied-configuration"];

/// Whether what stands under `name` is to be taken out.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let harmless = HARMLESS.iter().any(|word| plain.contains(word));
    !harmless && NAMES.iter().any(|word| plain.contains(word))
        || plain == "pwd"
        || plain.ends_with("dbpwd")
        || plain == "auth"
        || plain.ends_with("apiauth")
}

/// Takes credentials out of a Kubernetes object.
pub(crate) fn object(value: &mut Value) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    walk(value);
}

fn walk(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for copy in COPIES {
                if let Some(value) = fields.get_mut(copy) {
                    *value = Value::from(REDACTED);
                }
            }
            named(fields);
            fields.values_mut().for_each(walk);
        }
        Value::Array(items) => items.iter_mut().for_each(walk),
        Value::String(words) => *words = text(words),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Values under a telling name: of an environment variable, and of any field that holds a string.
fn named(fields: &mut Map<String, Value>) {
    let variable = fields.get("name").and_then(Value::as_str).is_some_and(is_secret_name);
    if variable && let Some(value) = fields.get_mut("value") {
        *value = Value::from(REDACTED);
    }
    for (name, value) in fields.iter_mut() {
        if value.is_string() && is_secret_name(name) {
            *value = Value::from(REDACTED);
        }
    }
}

/// Takes credentials out of text, such as a log or a file of properties.
pub(crate) fn text(words: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut in_key = false;
    for line in words.split('\n') {
        let begins = line.contains("-----BEGIN ") && line.contains("PRIVATE KEY");
        if begins || in_key {
            in_key = !line.contains("-----END ");
            // A key that is written in one line has escapes for its ends.
            lines.push(if begins { REDACTED.to_owned() } else { continue });
            continue;
        }
        lines.push(self::line(line));
    }
    lines.join("\n")
}

fn line(line: &str) -> String {
    let property = line.split_once(['=', ':']).filter(|(name, _)| {
        let name = name.trim();
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) && is_secret_name(name)
    });
    if let Some((name, _)) = property {
        let sign = &line[name.len()..=name.len()];
        return format!("{name}{sign}{REDACTED}");
    }
    words(&users(&pairs(line)))
}

/// `password=x`, `"password":"x"`, `password: x` within a line.
fn pairs(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['=', ':']) {
        let (before, sign) = rest.split_at(at);
        let quoted = before.trim_end_matches(['"', '\'', '\\', ' ']);
        let begins = quoted.rfind(|c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c)).map_or(0, |at| at + 1);
        // The character before the name may be wider than a byte.
        let name = quoted.get(begins..).unwrap_or_default();
        out.push_str(before);
        out.push_str(&sign[..1]);
        rest = &sign[1..];
        if is_secret_name(name) {
            let (kept, left) = value(rest);
            out.push_str(kept);
            out.push_str(REDACTED);
            rest = left;
        }
    }
    out.push_str(rest);
    out
}

/// What stands before a value, and what behind it.
fn value(whole: &str) -> (&str, &str) {
    let start = whole.len() - whole.trim_start().len();
    let (space, rest) = whole.split_at(start);
    let bare = rest.trim_start_matches('\\');
    if let Some(quote @ ('"' | '\'')) = bare.chars().next() {
        // Up to a quote that is escaped as often as the one that begins it.
        let escapes = &rest[..rest.len() - bare.len()];
        let inside = &bare[1..];
        let ends = inside.match_indices(quote).find(|(at, _)| {
            let before = &inside[..*at];
            before.len() - before.trim_end_matches('\\').len() == escapes.len()
        });
        let left = ends.map_or("", |(at, _)| &inside[at - escapes.len()..]);
        return (&whole[..start + escapes.len() + 1], left);
    }
    // `Authorization: Bearer x` has two words.
    let scheme = ["Bearer ", "Basic ", "bearer ", "basic "].iter().find(|scheme| rest.starts_with(**scheme));
    let skipped = scheme.map_or(0, |scheme| scheme.len());
    let end = rest[skipped..].find(|c: char| c.is_whitespace() || ",;&\"'})]".contains(c));
    (space, end.map_or("", |end| &rest[skipped + end..]))
}

/// `scheme://user:password@host`.
fn users(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "/\"',?".contains(c)).unwrap_or(after.len());
        let (authority, left) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                out.push_str(REDACTED);
                out.push('@');
                out.push_str(host);
            }
            None => out.push_str(authority),
        }
        rest = left;
    }
    out.push_str(rest);
    out
}

/// Words that are credentials by themselves.
fn words(line: &str) -> String {
    let goes_on = |c: char| c.is_ascii_alphanumeric() || "_-.+/=".contains(c);
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find(goes_on) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c: char| !goes_on(c)).unwrap_or(from.len());
        let (word, left) = from.split_at(end);
        out.push_str(before);
        // Behind the name of a parameter as well.
        let telling = BEGINNINGS.iter().filter_map(|begin| Some((word.find(begin)?, begin))).min();
        match telling {
            Some((at, _)) if word.len() - at >= WORD_CHARS_MIN && (at == 0 || word[..at].ends_with(['=', '/'])) => {
                out.push_str(&word[..at]);
                out.push_str(REDACTED);
            }
            _ => out.push_str(word),
        }
        rest = left;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A credential that no test may find again.
    const NEEDLE: &str = "hunter2";

    #[test]
    fn text_loses_what_looks_like_a_credential() {
        let cases = [
            ("sasl.jaas.config=x required username=\"me\" password=\"hunter2\";", "sasl.jaas.config=<redacted>"),
            ("ssl.keystore.password: hunter2 and more", "ssl.keystore.password:<redacted>"),
            ("connected with password=hunter2, as me", "connected with password=<redacted>, as me"),
            (
                r#"{"level":"info","clientSecret":"hunter2 x","port":9092}"#,
                r#"{"level":"info","clientSecret":"<redacted>","port":9092}"#,
            ),
            (
                r#"{"message":"{\"token\": \"hunter2\", \"a\": 1}"}"#,
                r#"{"message":"{\"token\": \"<redacted>\", \"a\": 1}"}"#,
            ),
            ("GET / Authorization: Bearer hunter2 200", "GET / Authorization: <redacted> 200"),
            ("to https://me:hunter2@host:8080/path?x=1", "to https://<redacted>@host:8080/path?x=1"),
            ("url=?api_key=hunter2&page=2", "url=?api_key=<redacted>&page=2"),
            ("-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----\nafter", "<redacted>\nafter"),
            ("one eyJhbGciOi.hunter2-hunter2 two", "one <redacted> two"),
            ("ü: password=hunter2", "ü: password=<redacted>"),
        ];
        for (before, after) in cases {
            assert_eq!(text(before), after);
            assert!(!text(before).contains(NEEDLE));
        }
    }

    #[test]
    fn text_keeps_everything_else() {
        for harmless in [
            "INFO broker 1: listener INTERNAL at 0.0.0.0:9092, 3 partitions",
            r#"{"timestamp":"2026-02-01T10:00:00Z","level":"info","topic":"orders"}"#,
            "delegation.token.expiry.time.ms=86400000",
            "log.dirs=/var/lib/ottla/data",
            "http://127.0.0.1:9644/metrics",
            "# HELP ottla_bytes_in_total key=value",
        ] {
            assert_eq!(text(harmless), harmless);
        }
    }

    #[test]
    fn an_object_loses_values_under_telling_names() {
        let mut pod = json!({
            "metadata": {
                "managedFields": [{"fieldsV1": {"f:x": "hunter2"}}],
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": "{\"env\": \"hunter2\"}",
                    "example.org/api-key": "hunter2",
                    "ottla.dev/restart": "2026-02-01T10:00:00Z",
                },
            },
            "spec": {
                "automountServiceAccountToken": true,
                "volumes": [{"secret": {"secretName": "tls"}}],
                "containers": [{
                    "args": ["--config", "/etc/ottla/broker.properties", "--password=hunter2"],
                    "env": [
                        {"name": "AWS_SECRET_ACCESS_KEY", "value": "hunter2"},
                        {"name": "DATABASE_URL", "value": "postgres://me:hunter2@db/x"},
                        {"name": "OTTLA_NODE_ID", "value": "1"},
                        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                    ],
                }],
                "config": {"ssl.keystore.password": "hunter2", "num.io.threads": 4},
            },
            "data": {"broker.properties": "log.dirs=/d\nssl.key.password=hunter2\n"},
        });
        object(&mut pod);
        let written = pod.to_string();
        assert!(!written.contains(NEEDLE), "{written}");
        let env = &pod["spec"]["containers"][0]["env"];
        assert_eq!(env[2]["value"], "1");
        assert_eq!(env[3]["valueFrom"]["secretKeyRef"]["name"], "s", "where a Secret is mounted is no secret");
        assert_eq!(pod["spec"]["volumes"][0]["secret"]["secretName"], "tls");
        assert_eq!(pod["spec"]["automountServiceAccountToken"], true);
        assert_eq!(pod["metadata"]["annotations"]["ottla.dev/restart"], "2026-02-01T10:00:00Z");
        assert_eq!(pod["data"]["broker.properties"], "log.dirs=/d\nssl.key.password=<redacted>\n");
    }
}
