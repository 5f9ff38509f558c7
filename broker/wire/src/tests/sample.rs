//! Valid bytes of any message, from the schema and a seed.
//!
//! Owns an independent, slow and simple encoder. With `noise` it also sends what a newer peer may send: tagged fields
//! that nobody knows.

use super::schema::{Field, Message, Type, Versions};

/// A small generator (splitmix64): the same seed gives the same bytes everywhere.
#[derive(Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }

    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// The bytes of a random value of `message`, as the one right encoding has them.
pub(super) fn canonical(message: &Message, version: i16, seed: u64) -> Vec<u8> {
    sample(message, version, seed, None)
}

/// The same value, with tagged fields that nobody knows.
pub(super) fn with_unknown_tags(message: &Message, version: i16, seed: u64) -> Vec<u8> {
    sample(message, version, seed, Some(Random(!seed)))
}

fn sample(message: &Message, version: i16, seed: u64, noise: Option<Random>) -> Vec<u8> {
    let mut sampler = Sampler { message, version, random: Random(seed), noise };
    sampler.structure(&message.fields, false)
}

struct Sampler<'a> {
    message: &'a Message,
    version: i16,
    random: Random,
    noise: Option<Random>,
}

pub(super) fn uvarint(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

impl Sampler<'_> {
    fn flexible(&self) -> bool {
        self.message.flexible.contains(self.version)
    }

    /// The fields in order, then the tagged ones. With `differ` at least one field has not its default.
    fn structure(&mut self, fields: &[Field], differ: bool) -> Vec<u8> {
        let there = |field: &&Field| field.versions.contains(self.version);
        let (tagged, plain): (Vec<&Field>, Vec<&Field>) =
            fields.iter().filter(there).partition(|field| field.tag.is_some());
        let mut out = Vec::new();
        for (index, field) in plain.iter().enumerate() {
            out.extend(self.value(field, differ && index == 0));
        }
        if self.flexible() {
            out.extend(self.tags(&tagged, differ && plain.is_empty()));
        }
        out
    }

    fn tags(&mut self, tagged: &[&Field], differ: bool) -> Vec<u8> {
        let mut sent = Vec::new();
        let mut sorted = tagged.to_vec();
        sorted.sort_by_key(|field| field.tag);
        for field in sorted {
            if self.random.coin() || differ {
                let value = self.value(field, true);
                sent.push((field.tag.unwrap() as usize, value));
            }
        }
        if let Some(noise) = &mut self.noise {
            for _ in 0..noise.below(3) {
                let length = noise.below(200);
                sent.push((50 + noise.below(1000), noise.bytes(length)));
            }
        }
        let mut out = uvarint(sent.len());
        for (tag, value) in sent {
            out.extend(uvarint(tag));
            out.extend(uvarint(value.len()));
            out.extend(value);
        }
        out
    }

    fn length(&self, length: Option<usize>, wide: bool) -> Vec<u8> {
        match (self.flexible(), wide) {
            (true, _) => uvarint(length.map_or(0, |length| length + 1)),
            (false, true) => length.map_or(-1, |length| length as i32).to_be_bytes().to_vec(),
            (false, false) => length.map_or(-1, |length| length as i16).to_be_bytes().to_vec(),
        }
    }

    /// A field; with `differ` not its default.
    fn value(&mut self, field: &Field, differ: bool) -> Vec<u8> {
        let nullable = field.nullable.meet(Versions { min: self.version, max: self.version });
        let null_is_default = field.default.as_deref() == Some("null") || field.ty == Type::Records;
        if !nullable.is_empty() && self.random.below(4) == 0 && !(differ && null_is_default) {
            return match &field.ty {
                Type::Struct(_) => vec![0xff],
                Type::String => self.length(None, false),
                Type::Fixed(_) | Type::Bytes | Type::Records | Type::Array(_) => self.length(None, true),
            };
        }
        let mut out = Vec::new();
        if !nullable.is_empty() && matches!(field.ty, Type::Struct(_)) {
            out.push(1);
        }
        let differ = differ && !(null_is_default && field.is_option());
        let value = loop {
            let value = self.plain(&field.ty, differ);
            if !differ || value != default_bytes(field) {
                break value;
            }
        };
        out.extend(value);
        out
    }

    fn plain(&mut self, ty: &Type, differ: bool) -> Vec<u8> {
        match ty {
            Type::Fixed(fixed) => match fixed.name {
                "bool" => vec![u8::from(self.random.coin())],
                "float64" => (self.random.below(1000) as f64 / 8.0).to_be_bytes().to_vec(),
                _ => self.random.bytes(fixed.size),
            },
            Type::String => {
                let length = self.random.below(20) + usize::from(differ);
                let text: String = (0..length).map(|_| ['a', 'z', '-', 'ä', '🦀'][self.random.below(5)]).collect();
                [self.length(Some(text.len()), false), text.into_bytes()].concat()
            }
            // Null records and none are the same to a Fetch response, so they are never empty here.
            Type::Bytes | Type::Records => {
                let length = 1 + self.random.below(200);
                [self.length(Some(length), true), self.random.bytes(length)].concat()
            }
            Type::Struct(name) => {
                let fields = self.message.structs[name].clone();
                self.structure(&fields, differ)
            }
            Type::Array(element) => {
                let count = self.random.below(3) + usize::from(differ);
                let mut out = self.length(Some(count), true);
                for _ in 0..count {
                    out.extend(self.plain(element, false));
                }
                out
            }
        }
    }
}

/// The bytes of a fixed-size default, to draw another value than that.
fn default_bytes(field: &Field) -> Vec<u8> {
    let Type::Fixed(fixed) = field.ty else { return Vec::new() };
    match (fixed.name, field.default.as_deref()) {
        ("bool", default) => vec![u8::from(default == Some("true"))],
        ("float64" | "uuid", _) | (_, None) => vec![0; fixed.size],
        (_, Some(number)) => number.parse::<i64>().unwrap().to_be_bytes()[8 - fixed.size..].to_vec(),
    }
}
