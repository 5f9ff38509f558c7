//! What configs belong to, as DescribeConfigs and its relatives number it.

use ottla_core::types::BrokerId;

/// A kind of resource whose configs are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A topic, by name.
    Topic,
    /// A broker, by id; the empty name is the default of all.
    Broker,
}

impl Kind {
    /// The number of topics.
    pub const TOPIC: i8 = 2;
    /// The number of brokers.
    pub const BROKER: i8 = 4;
    /// The number of brokers' loggers, of which none is kept here.
    pub const BROKER_LOGGER: i8 = 8;
    /// The number of client metrics, of which none is kept here.
    pub const CLIENT_METRICS: i8 = 16;
    /// The number of groups, of which none is kept here.
    pub const GROUP: i8 = 32;

    /// From the wire's number.
    pub fn read(number: i8) -> Option<Self> {
        match number {
            Self::TOPIC => Some(Self::Topic),
            Self::BROKER => Some(Self::Broker),
            _ => None,
        }
    }
}

/// Which broker a resource's name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerTarget {
    /// One of them.
    One(BrokerId),
    /// The default of all.
    All,
}

impl BrokerTarget {
    /// From a resource's name.
    pub fn read(name: &str) -> Option<Self> {
        if name.is_empty() {
            return Some(Self::All);
        }
        name.parse().ok().map(|id| Self::One(BrokerId::new(id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_name_is_all_brokers_and_nonsense_is_none() {
        assert_eq!(BrokerTarget::read(""), Some(BrokerTarget::All));
        assert_eq!(BrokerTarget::read("7"), Some(BrokerTarget::One(BrokerId::new(7))));
        assert_eq!(BrokerTarget::read("seven"), None);
        assert_eq!(Kind::read(Kind::GROUP), None);
    }
}
