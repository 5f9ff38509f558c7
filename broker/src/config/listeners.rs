//! `listeners`, `advertised.listeners` and `listener.security.protocol.map`.
//!
//! Owns their notation: `NAME://host:port`, separated by commas. Must never accept a protocol that is not served.

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Its name, such as `PLAINTEXT`.
    pub name: String,
    /// Host to bind; empty for every address.
    pub host: String,
    /// Port to bind; 0 for any free one.
    pub port: u16,
    /// Host that clients are told, if it is not the one bound.
    pub advertised_host: Option<String>,
    /// Port that clients are told, if it is not the one bound.
    pub advertised_port: Option<u16>,
}

impl ListenerConfig {
    /// Whether `advertised.listeners` names it.
    pub fn is_advertised(&self) -> bool {
        self.advertised_host.is_some() || self.advertised_port.is_some()
    }
}

/// What is wrong with a listener.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ListenerError {
    /// Not `NAME://host:port`.
    #[error("{key} holds {text:?}; it must be NAME://host:port, such as PLAINTEXT://0.0.0.0:9092")]
    Notation {
        /// `listeners` or `advertised.listeners`.
        key: &'static str,
        /// The part that cannot be read.
        text: String,
    },
    /// Two listeners of one name.
    #[error("{key} names {name} twice")]
    Twice {
        /// `listeners` or `advertised.listeners`.
        key: &'static str,
        /// The name.
        name: String,
    },
    /// Nothing to listen on.
    #[error("listeners is empty; it needs at least one NAME://host:port")]
    Empty,
    /// A file of addresses that says less than an address.
    #[error("{0}; it must be a host and a port")]
    NoAddress(String),
    /// Advertised but not listened on.
    #[error("advertised.listeners names {0}, which listeners does not have")]
    Unknown(String),
    /// A protocol that does not work yet.
    #[error("listener {name} speaks {protocol}; only PLAINTEXT works so far (listener.security.protocol.map)")]
    Protocol {
        /// The listener.
        name: String,
        /// Its protocol.
        protocol: String,
    },
}

/// Reads the three keys together.
///
/// # Errors
/// [`ListenerError`]
pub(super) fn read(
    listeners: &str,
    advertised: Option<&str>,
    protocols: &str,
) -> Result<Vec<ListenerConfig>, ListenerError> {
    let mut read: Vec<ListenerConfig> = Vec::new();
    for (name, host, port) in parse("listeners", listeners)? {
        check_protocol(&name, protocols)?;
        read.push(ListenerConfig { name, host, port, advertised_host: None, advertised_port: None });
    }
    if read.is_empty() {
        return Err(ListenerError::Empty);
    }
    for (name, host, port) in parse("advertised.listeners", advertised.unwrap_or_default())? {
        let known = read.iter_mut().find(|listener| listener.name == name);
        let listener = known.ok_or(ListenerError::Unknown(name))?;
        listener.advertised_host = (!host.is_empty()).then_some(host);
        listener.advertised_port = (port != 0).then_some(port);
    }
    Ok(read)
}

/// Reads a file of addresses, in the notation of `advertised.listeners`: name, host and port of each listener in it.
///
/// # Errors
/// [`ListenerError`]
pub fn advertised(text: &str, listeners: &[ListenerConfig]) -> Result<Vec<(String, String, u16)>, ListenerError> {
    let said = parse("ottla.advertised.listeners.file", text)?;
    for (name, host, port) in &said {
        if !listeners.iter().any(|listener| listener.name == *name) {
            return Err(ListenerError::Unknown(name.clone()));
        }
        if host.is_empty() || *port == 0 {
            return Err(ListenerError::NoAddress(format!("{name}://{host}:{port}")));
        }
    }
    Ok(said)
}

fn parse(key: &'static str, text: &str) -> Result<Vec<(String, String, u16)>, ListenerError> {
    let mut parsed: Vec<(String, String, u16)> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let notation = || ListenerError::Notation { key, text: part.to_owned() };
        let (name, address) = part.split_once("://").ok_or_else(notation)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(notation)?;
        let port = port.parse().map_err(|_| notation())?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = name.to_ascii_uppercase();
        if name.is_empty() {
            return Err(notation());
        }
        if parsed.iter().any(|(known, _, _)| *known == name) {
            return Err(ListenerError::Twice { key, name });
        }
        parsed.push((name, host.to_owned(), port));
    }
    Ok(parsed)
}

fn check_protocol(name: &str, protocols: &str) -> Result<(), ListenerError> {
    let mapped = protocols.split(',').filter_map(|pair| pair.trim().split_once(':'));
    let protocol =
        mapped.filter(|(listener, _)| listener.eq_ignore_ascii_case(name)).map(|(_, protocol)| protocol).next();
    match protocol.unwrap_or(name) {
        "PLAINTEXT" => Ok(()),
        other => Err(ListenerError::Protocol { name: name.to_owned(), protocol: other.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "PLAINTEXT:PLAINTEXT,SSL:SSL,INTERNAL:PLAINTEXT";

    #[test]
    fn listeners_are_advertised_as_they_say() {
        let read = read("PLAINTEXT://:9092, internal://[::1]:0", Some("INTERNAL://b.example:9094"), MAP).unwrap();
        let plain = ListenerConfig {
            name: "PLAINTEXT".to_owned(),
            host: String::new(),
            port: 9092,
            advertised_host: None,
            advertised_port: None,
        };
        let internal = ListenerConfig {
            name: "INTERNAL".to_owned(),
            host: "::1".to_owned(),
            port: 0,
            advertised_host: Some("b.example".to_owned()),
            advertised_port: Some(9094),
        };
        assert_eq!(read, [plain, internal]);
    }

    #[test]
    fn what_cannot_be_served_is_named() {
        let check = |listeners, advertised, sentence: &str| {
            let error = read(listeners, advertised, MAP).unwrap_err();
            assert!(error.to_string().contains(sentence), "{error}");
        };
        check("", None, "at least one");
        check("9092", None, "\"9092\"");
        check("PLAINTEXT://:99999", None, "NAME://host:port");
        check("PLAINTEXT://:1,plaintext://:2", None, "twice");
        check("SSL://:9093", None, "only PLAINTEXT works");
        check("PLAINTEXT://:9092", Some("OTHER://:1"), "which listeners does not have");
    }

    #[test]
    fn a_file_says_whole_addresses_of_listeners_that_there_are() {
        let listeners = read("PLAINTEXT://:9092,OUT://:9094", None, "OUT:PLAINTEXT").unwrap();
        let said = advertised(" out://[2001:db8::1]:31234\n", &listeners).unwrap();
        assert_eq!(said, [("OUT".to_owned(), "2001:db8::1".to_owned(), 31_234)]);
        assert_eq!(advertised("", &listeners).unwrap(), []);
        let wrong = |text, sentence: &str| {
            let error = advertised(text, &listeners).unwrap_err();
            assert!(error.to_string().contains(sentence), "{error}");
        };
        wrong("IN://a:1", "which listeners does not have");
        wrong("OUT://:31234", "a host and a port");
        wrong("OUT://a:0", "a host and a port");
        wrong("OUT", "NAME://host:port");
    }
}
