//! Kafka's client properties: the file that `--command-config` names.
//!
//! Owns the Java properties syntax and which keys act. A key that is not known is kept in [`Properties::ignored`], as
//! Kafka's clients do; a value that makes no sense, or asks for security that is not there yet, is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_wire::record::Compression;

use super::{Acks, ClientConfig, ConsumerConfig, GroupConfig, ProducerConfig, Reset, Strategy};

/// A properties file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropertiesError {
    /// A value that its key does not take.
    #[error("{key}={value}: {expected}")]
    Value {
        /// The key.
        key: String,
        /// The value as it was written.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// TLS or SASL.
    #[error("security.protocol={0} is not supported yet: this client speaks PLAINTEXT only")]
    Security(String),
}

/// A properties file, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    entries: BTreeMap<String, String>,
}

impl Properties {
    /// Reads Java's properties syntax: `#` and `!` comments, `=`, `:` or blank between key and value, `\` continuations.
    pub fn parse(text: &str) -> Self {
        let mut entries = BTreeMap::new();
        let mut lines = text.lines();
        while let Some(first) = lines.next() {
            let first = first.trim_start();
            if first.is_empty() || first.starts_with(['#', '!']) {
                continue;
            }
            let mut line = first.to_owned();
            while continues(&line) {
                line.pop();
                line.push_str(lines.next().unwrap_or_default().trim_start());
            }
            let (key, value) = split(&line);
            entries.insert(unescape(key), unescape(value));
        }
        Self { entries }
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(String::as_str)
    }

    /// Keys that mean nothing to this client.
    pub fn ignored(&self) -> Vec<&str> {
        self.entries.keys().map(String::as_str).filter(|key| !KNOWN.contains(key)).collect()
    }

    /// Applies what concerns every client.
    pub fn client(&self, config: &mut ClientConfig) -> Result<(), PropertiesError> {
        if let Some(protocol) = self.get("security.protocol")
            && !protocol.eq_ignore_ascii_case("PLAINTEXT")
        {
            return Err(PropertiesError::Security(protocol.to_owned()));
        }
        if let Some(list) = self.get("bootstrap.servers") {
            config.bootstrap = list.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect();
        }
        if let Some(id) = self.get("client.id") {
            config.client_id = id.to_owned();
        }
        if let Some(rack) = self.get("client.rack") {
            config.rack = rack.to_owned();
        }
        self.millis("request.timeout.ms", &mut config.request_timeout)?;
        self.millis("default.api.timeout.ms", &mut config.call_timeout)?;
        self.millis("socket.connection.setup.timeout.ms", &mut config.connect_timeout)?;
        self.millis("retry.backoff.ms", &mut config.backoff)?;
        self.millis("retry.backoff.max.ms", &mut config.backoff_max)?;
        self.millis("metadata.max.age.ms", &mut config.metadata_age_max)
    }

    /// Applies what concerns producers.
    pub fn producer(&self, config: &mut ProducerConfig) -> Result<(), PropertiesError> {
        if let Some(text) = self.get("acks") {
            config.acks = match text {
                "0" => Acks::None,
                "1" => Acks::Leader,
                "all" | "-1" => Acks::All,
                _ => return Err(value_error("acks", text, "takes 0, 1 or all")),
            };
            config.idempotent &= config.acks == Acks::All;
        }
        if let Some(idempotent) = self.boolean("enable.idempotence")? {
            if idempotent && config.acks != Acks::All {
                return Err(value_error("enable.idempotence", "true", "needs acks=all"));
            }
            config.idempotent = idempotent;
        }
        if let Some(text) = self.get("compression.type") {
            config.compression = parse_compression(text)
                .ok_or_else(|| value_error("compression.type", text, "takes none, gzip, snappy, lz4 or zstd"))?;
        }
        self.millis("linger.ms", &mut config.linger)?;
        self.millis("delivery.timeout.ms", &mut config.delivery_timeout)?;
        self.size("batch.size", &mut config.batch_bytes)?;
        self.size("max.request.size", &mut config.request_bytes_max)?;
        self.size("buffer.memory", &mut config.buffer_bytes)
    }

    /// Applies what concerns consumers.
    pub fn consumer(&self, config: &mut ConsumerConfig) -> Result<(), PropertiesError> {
        if let Some(text) = self.get("isolation.level") {
            config.read_committed = match text {
                "read_committed" => true,
                "read_uncommitted" => false,
                _ => return Err(value_error("isolation.level", text, "takes read_committed or read_uncommitted")),
            };
        }
        if let Some(text) = self.get("auto.offset.reset") {
            config.reset = match text {
                "earliest" => Reset::Earliest,
                "latest" => Reset::Latest,
                "none" => Reset::Fail,
                _ => return Err(value_error("auto.offset.reset", text, "takes earliest, latest or none")),
            };
        }
        self.millis("fetch.max.wait.ms", &mut config.fetch_wait_max)?;
        self.size("fetch.min.bytes", &mut config.fetch_bytes_min)?;
        self.size("fetch.max.bytes", &mut config.fetch_bytes_max)?;
        self.size("max.partition.fetch.bytes", &mut config.partition_bytes_max)
    }

    /// Applies what concerns members of a group.
    pub fn group(&self, config: &mut GroupConfig) -> Result<(), PropertiesError> {
        if let Some(id) = self.get("group.instance.id") {
            config.instance = Some(id.to_owned());
        }
        if let Some(text) = self.get("group.protocol")
            && !text.eq_ignore_ascii_case("classic")
        {
            return Err(value_error("group.protocol", text, "takes classic; KIP-848 is not there yet"));
        }
        if let Some(text) = self.get("partition.assignment.strategy") {
            config.strategies =
                text.split(',').map(|one| parse_strategy(one.trim())).collect::<Option<Vec<_>>>().ok_or_else(|| {
                    value_error("partition.assignment.strategy", text, "takes range and cooperative-sticky")
                })?;
        }
        self.millis("session.timeout.ms", &mut config.session_timeout)?;
        self.millis("heartbeat.interval.ms", &mut config.heartbeat_interval)?;
        self.millis("max.poll.interval.ms", &mut config.rebalance_timeout)
    }

    fn millis(&self, key: &str, into: &mut Duration) -> Result<(), PropertiesError> {
        if let Some(text) = self.get(key) {
            let millis: u32 =
                text.trim().parse().map_err(|_| value_error(key, text, "takes a number of milliseconds"))?;
            *into = Duration::from_millis(millis.into());
        }
        Ok(())
    }

    fn size(&self, key: &str, into: &mut usize) -> Result<(), PropertiesError> {
        if let Some(text) = self.get(key) {
            let bytes: u32 = text.trim().parse().map_err(|_| value_error(key, text, "takes a number of bytes"))?;
            *into = bytes as usize;
        }
        Ok(())
    }

    fn boolean(&self, key: &str) -> Result<Option<bool>, PropertiesError> {
        match self.get(key) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(text) => Err(value_error(key, text, "takes true or false")),
        }
    }
}

/// The keys that act; everything else is ignored, by name.
const KNOWN: &[&str] = &[
    "acks",
    "auto.offset.reset",
    "batch.size",
    "bootstrap.servers",
    "buffer.memory",
    "client.id",
    "client.rack",
    "compression.type",
    "default.api.timeout.ms",
    "delivery.timeout.ms",
    "enable.idempotence",
    "fetch.max.bytes",
    "fetch.max.wait.ms",
    "fetch.min.bytes",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "heartbeat.interval.ms",
    "isolation.level",
    "linger.ms",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "max.request.size",
    "metadata.max.age.ms",
    "partition.assignment.strategy",
    "request.timeout.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "security.protocol",
    "session.timeout.ms",
    "socket.connection.setup.timeout.ms",
];

/// The compression that Kafka calls `name`.
pub(crate) fn parse_compression(name: &str) -> Option<Compression> {
    match name {
        "none" => Some(Compression::None),
        "gzip" => Some(Compression::Gzip),
        "snappy" => Some(Compression::Snappy),
        "lz4" => Some(Compression::Lz4),
        "zstd" => Some(Compression::Zstd),
        _ => None,
    }
}

fn parse_strategy(name: &str) -> Option<Strategy> {
    match name {
        "range" | "org.apache.kafka.clients.consumer.RangeAssignor" => Some(Strategy::Range),
        "cooperative-sticky" | "org.apache.kafka.clients.consumer.CooperativeStickyAssignor" => {
            Some(Strategy::CooperativeSticky)
        }
        _ => None,
    }
}

fn value_error(key: &str, value: &str, expected: &'static str) -> PropertiesError {
    PropertiesError::Value { key: key.to_owned(), value: value.to_owned(), expected }
}

fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, symbol) in line.char_indices() {
        if escaped {
            escaped = false;
        } else if symbol == '\\' {
            escaped = true;
        } else if matches!(symbol, '=' | ':') {
            return (line[..at].trim_end(), line[at + 1..].trim_start());
        } else if symbol.is_whitespace() {
            let rest = line[at..].trim_start();
            return (&line[..at], rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start());
        }
    }
    (line, "")
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut symbols = text.chars();
    while let Some(symbol) = symbols.next() {
        if symbol != '\\' {
            out.push(symbol);
            continue;
        }
        match symbols.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('u') => {
                let digits: String = symbols.by_ref().take(4).collect();
                out.push(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32).unwrap_or('\u{fffd}'));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_syntax_is_read() {
        let properties = Properties::parse(
            "# comment\n! another\n\nclient.id = me\nacks:1\nlinger.ms 7\nbootstrap.servers=a:1,\\\n    b:2\n\
             with\\ blank=\\u00e9\\tx\nempty\n",
        );
        assert_eq!(properties.get("client.id"), Some("me"));
        assert_eq!(properties.get("acks"), Some("1"));
        assert_eq!(properties.get("linger.ms"), Some("7"));
        assert_eq!(properties.get("bootstrap.servers"), Some("a:1,b:2"));
        assert_eq!(properties.get("with blank"), Some("é\tx"));
        assert_eq!(properties.get("empty"), Some(""));
        assert_eq!(properties.ignored(), ["empty", "with blank"]);
    }

    #[test]
    fn values_reach_the_configs() {
        let properties = Properties::parse(
            "bootstrap.servers=a:1, b:2\nacks=1\ncompression.type=zstd\nauto.offset.reset=earliest\n\
             partition.assignment.strategy=org.apache.kafka.clients.consumer.CooperativeStickyAssignor,range\n\
             session.timeout.ms=6000\nsecurity.protocol=PLAINTEXT",
        );
        let mut client = ClientConfig::default();
        properties.client(&mut client).unwrap();
        assert_eq!(client.bootstrap, ["a:1", "b:2"]);
        let mut producer = ProducerConfig::default();
        properties.producer(&mut producer).unwrap();
        assert_eq!((producer.acks, producer.idempotent), (Acks::Leader, false));
        assert_eq!(producer.compression, Compression::Zstd);
        let mut consumer = ConsumerConfig::default();
        properties.consumer(&mut consumer).unwrap();
        assert_eq!(consumer.reset, Reset::Earliest);
        let mut group = GroupConfig::new("g");
        properties.group(&mut group).unwrap();
        assert_eq!(group.strategies, [Strategy::CooperativeSticky, Strategy::Range]);
        assert_eq!(group.session_timeout, Duration::from_secs(6));
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let cases = [
            ("security.protocol=SASL_SSL", "security.protocol=SASL_SSL is not supported yet"),
            ("request.timeout.ms=-1", "request.timeout.ms=-1: takes a number of milliseconds"),
            ("acks=2", "acks=2: takes 0, 1 or all"),
            ("acks=1\nenable.idempotence=true", "enable.idempotence=true: needs acks=all"),
            ("compression.type=brotli", "compression.type=brotli: takes none"),
            ("auto.offset.reset=middle", "auto.offset.reset=middle: takes earliest"),
            ("group.protocol=consumer", "group.protocol=consumer: takes classic"),
        ];
        for (text, expected) in cases {
            let properties = Properties::parse(text);
            let error = properties
                .client(&mut ClientConfig::default())
                .and_then(|()| properties.producer(&mut ProducerConfig::default()))
                .and_then(|()| properties.consumer(&mut ConsumerConfig::default()))
                .and_then(|()| properties.group(&mut GroupConfig::new("g")))
                .unwrap_err();
            assert!(error.to_string().starts_with(expected), "{text:?} gave {error}");
        }
    }
}
