//! Finding the line of a field.
//!
//! The YAML library keeps no positions, but its errors have one: a visitor walks down the path and fails on purpose
//! where it ends.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::path::{FieldPath, Segment};

/// The line of a field within its document, counted from 1; of the nearest field around it if it is not there.
pub(super) fn line(text: &str, path: &FieldPath) -> usize {
    let mut segments = path.segments();
    loop {
        let found = serde_yaml::Deserializer::from_str(text).deserialize_any(Walk(segments));
        if let Some(location) = found.err().and_then(|error| error.location()) {
            return location.line();
        }
        match segments.split_last() {
            Some((_, around)) => segments = around,
            None => return 1,
        }
    }
}

/// Walks down what is left of the path.
struct Walk<'a>(&'a [Segment]);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the end of the path")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let [first, rest @ ..] = self.0 else { return Err(A::Error::custom("here")) };
        let Segment::Field(name) = first else { return skip_map(map) };
        while let Some(found) = map.next_key_seed(Key { name, fail: rest.is_empty() })? {
            if found {
                map.next_value_seed(Walk(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let target = match self.0.first() {
            None => return Err(A::Error::custom("here")),
            Some(Segment::Item(index)) => Some(*index),
            Some(Segment::Field(_)) => None,
        };
        for at in 0usize.. {
            let more = if Some(at) == target {
                list.next_element_seed(Walk(&self.0[1..]))?.is_some()
            } else {
                list.next_element::<IgnoredAny>()?.is_some()
            };
            if !more {
                break;
            }
        }
        Ok(())
    }
}

fn skip_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Reads a key; says whether it is the one, or fails there.
struct Key<'a> {
    name: &'a str,
    fail: bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        match name == self.name {
            true if self.fail => Err(E::custom("here")),
            same => Ok(same),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# a comment
kind: Cluster
spec:
  pools:
  - name: a
    replicas: 1
  -
    name: b   # the second
    storage: {volumes: [{name: data,
      size: 1Gi}]}
  shared: &x
    deep: 1
  again: *x
";

    fn check(path: &FieldPath, expected: usize) {
        assert_eq!(line(TEXT, path), expected, "{path}");
    }

    #[test]
    fn fields_are_found_on_their_lines() {
        let spec = FieldPath::root().field("spec");
        check(&FieldPath::root().field("kind"), 2);
        check(&spec, 3);
        check(&spec.field("pools").item(0), 5);
        check(&spec.field("pools").item(0).field("replicas"), 6);
        check(&spec.field("pools").item(1).field("name"), 8);
        let volume = spec.field("pools").item(1).field("storage").field("volumes").item(0);
        check(&volume.field("name"), 9);
        check(&volume.field("size"), 10);
    }

    #[test]
    fn what_is_missing_is_found_where_it_would_be() {
        let spec = FieldPath::root().field("spec");
        check(&FieldPath::root().field("apiVersion"), 2);
        check(&spec.field("version"), 3);
        check(&spec.field("pools").item(0).field("storage").field("volumes"), 5);
        check(&spec.field("pools").item(7), 4);
    }
}
