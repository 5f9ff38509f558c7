//! A record as one line of JSON: what `consume -o json` prints and `produce --format json` reads.
//!
//! Owns both directions, so that what was read can be written again. Bytes that are no text travel as base64 and say so.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Zoned;
use ottla_client::types::{PartitionIndex, Timestamp};
use ottla_client::{Header, NamedPartition, NewRecord, Record};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::text;

/// A record as it is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: i64,
    #[serde(flatten)]
    key: Key,
    #[serde(flatten)]
    value: Content,
    headers: Vec<HeaderLine<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_encoding: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_encoding: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct HeaderLine<'a> {
    key: &'a str,
    #[serde(flatten)]
    content: Content,
}

impl<'a> Line<'a> {
    pub(crate) fn new(partition: &'a NamedPartition, record: &'a Record) -> Self {
        let (key, key_encoding) = encode(record.key.as_deref());
        let header = |header: &'a Header| HeaderLine { key: &header.key, content: content(header.value.as_deref()) };
        Self {
            topic: &partition.topic,
            partition: partition.partition.get(),
            offset: record.offset.get(),
            timestamp: record.timestamp.get(),
            key: Key { key, key_encoding },
            value: content(record.value.as_deref()),
            headers: record.headers.iter().map(header).collect(),
        }
    }
}

fn content(bytes: Option<&[u8]>) -> Content {
    let (value, value_encoding) = encode(bytes);
    Content { value, value_encoding }
}

fn encode(bytes: Option<&[u8]>) -> (Option<String>, Option<&'static str>) {
    match bytes.map(std::str::from_utf8) {
        None => (None, None),
        Some(Ok(text)) => (Some(text.to_owned()), None),
        Some(Err(_)) => (bytes.map(|bytes| STANDARD.encode(bytes)), Some("base64")),
    }
}

/// A record as it is read. `topic` and `offset` are taken and ignored, so that what was printed can be read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Input {
    #[serde(default)]
    key: Value,
    key_encoding: Option<Encoding>,
    #[serde(default)]
    value: Value,
    value_encoding: Option<Encoding>,
    #[serde(default)]
    headers: Headers,
    timestamp: Option<Value>,
    partition: Option<i32>,
    #[serde(rename = "topic")]
    _topic: Option<Value>,
    #[serde(rename = "offset")]
    _offset: Option<Value>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    Text,
    Base64,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Headers {
    Map(serde_json::Map<String, Value>),
    List(Vec<HeaderInput>),
}

impl Default for Headers {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HeaderInput {
    key: String,
    #[serde(default)]
    value: Value,
    value_encoding: Option<Encoding>,
}

/// Reads one line; the topic is the caller's business.
pub(crate) fn read(line: &[u8], now: &Zoned) -> Result<NewRecord, String> {
    let input: Input = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let timestamp = match input.timestamp {
        None | Some(Value::Null) => None,
        Some(Value::Number(number)) => {
            Some(number.as_i64().ok_or_else(|| format!("timestamp {number} is no number of milliseconds"))?)
        }
        Some(Value::String(text)) => Some(text::time(&text, now)?),
        Some(other) => return Err(format!("timestamp {other} is neither milliseconds nor text")),
    };
    let partition = match input.partition {
        Some(negative @ ..0) => return Err(format!("partition {negative} is negative")),
        partition => partition.map(PartitionIndex::new),
    };
    Ok(NewRecord {
        topic: String::new(),
        partition,
        key: decode("key", input.key, input.key_encoding)?.map(Into::into),
        value: decode("value", input.value, input.value_encoding)?.map(Into::into),
        headers: headers(input.headers)?,
        timestamp: timestamp.map(Timestamp::new),
    })
}

fn headers(headers: Headers) -> Result<Vec<Header>, String> {
    let header = |key: String, value: Value, encoding: Option<Encoding>| {
        let value = decode("a header", value, encoding)?.map(Into::into);
        Ok(Header { key, value })
    };
    match headers {
        Headers::Map(map) => map.into_iter().map(|(key, value)| header(key, value, None)).collect(),
        Headers::List(list) => list.into_iter().map(|one| header(one.key, one.value, one.value_encoding)).collect(),
    }
}

/// Text as its bytes, null as null, anything else as compact JSON.
fn decode(what: &str, value: Value, encoding: Option<Encoding>) -> Result<Option<Vec<u8>>, String> {
    match (value, encoding) {
        (Value::Null, _) => Ok(None),
        (Value::String(text), Some(Encoding::Base64)) => {
            STANDARD.decode(text).map(Some).map_err(|error| format!("{what} is no base64: {error}"))
        }
        (other, Some(Encoding::Base64)) => Err(format!("{what} is to be base64 but is {other}")),
        (Value::String(text), _) => Ok(Some(text.into_bytes())),
        (other, _) => Ok(Some(other.to_string().into_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Zoned {
        "2026-11-22T12:00:00+02:00[+02:00]".parse().unwrap()
    }

    #[test]
    fn what_is_printed_can_be_read() {
        let record = Record {
            offset: 7.into(),
            timestamp: 1_700_000_000_000.into(),
            key: Some("k\n1".into()),
            value: Some(vec![0xff, 0x00].into()),
            headers: vec![
                Header { key: "a".to_owned(), value: Some("1".into()) },
                Header { key: "a".to_owned(), value: None },
                Header { key: "b".to_owned(), value: Some(vec![0xfe].into()) },
            ],
        };
        let partition = NamedPartition::new("t", 3.into());
        let line = serde_json::to_string(&Line::new(&partition, &record)).unwrap();
        insta::assert_snapshot!("record_json", line);
        let again = read(line.as_bytes(), &now()).unwrap();
        assert_eq!((&again.key, &again.value, &again.headers), (&record.key, &record.value, &record.headers));
        assert_eq!((again.timestamp, again.partition), (Some(record.timestamp), Some(3.into())));
    }

    #[test]
    fn every_form_of_input_is_taken() {
        let record = read(br#"{"key": 7, "value": {"b": 1, "a": [true]}, "headers": {"x": "y", "z": null}}"#, &now());
        let record = record.unwrap();
        assert_eq!(record.key.as_deref(), Some(&b"7"[..]));
        assert_eq!(record.value.as_deref(), Some(&br#"{"b":1,"a":[true]}"#[..]));
        assert_eq!(record.headers.len(), 2);
        let record = read(br#"{"value": null, "timestamp": "2026-11-22T10:00:00Z"}"#, &now()).unwrap();
        assert_eq!((record.key, record.value), (None, None));
        assert_eq!(record.timestamp, Some(now().timestamp().as_millisecond().into()));
        assert_eq!(read(b"{}", &now()).unwrap().value, None);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let cases = [
            ("", "EOF"),
            ("7", "invalid type"),
            (r#"{"vaule": 1}"#, "unknown field `vaule`"),
            (r#"{"value": "x", "partition": -1}"#, "partition -1 is negative"),
            (r#"{"value": "!", "valueEncoding": "base64"}"#, "value is no base64"),
            (r#"{"timestamp": true}"#, "timestamp true"),
        ];
        for (line, expected) in cases {
            let error = read(line.as_bytes(), &now()).unwrap_err();
            assert!(error.contains(expected), "{line} gave {error}");
        }
    }
}
