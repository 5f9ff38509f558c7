//! The schema notation: its model and its parser. `schema/README.md` explains the notation.
//!
//! Owns what a message is: fields, versions, nullability, defaults, tags. Also compiled into the tests, which build
//! valid bytes from the model without the generated code. Must never know about Rust code.

use std::collections::BTreeMap;

/// An inclusive range of versions; `max` is `i16::MAX` when it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) min: i16,
    pub(crate) max: i16,
}

impl Versions {
    pub(crate) const ALL: Self = Self { min: 0, max: i16::MAX };
    pub(crate) const NONE: Self = Self { min: i16::MAX, max: -1 };

    pub(crate) fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    pub(crate) fn covers(self, other: Self) -> bool {
        other.is_empty() || (self.min <= other.min && other.max <= self.max)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.min > self.max
    }

    pub(crate) fn meet(self, other: Self) -> Self {
        Self { min: self.min.max(other.min), max: self.max.min(other.max) }
    }
}

/// A type of one size.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fixed {
    /// The name in the schema.
    pub(crate) name: &'static str,
    /// The type in Rust.
    pub(crate) rust: &'static str,
    /// The method of the reader and of the writer.
    pub(crate) method: &'static str,
    pub(crate) size: usize,
    pub(crate) zero: &'static str,
}

impl Fixed {
    const fn number(name: &'static str, rust: &'static str, size: usize) -> Self {
        Self { name, rust, method: rust, size, zero: "0" }
    }
}

const FIXED: [Fixed; 9] = [
    Fixed { name: "bool", rust: "bool", method: "bool", size: 1, zero: "false" },
    Fixed::number("int8", "i8", 1),
    Fixed::number("int16", "i16", 2),
    Fixed::number("uint16", "u16", 2),
    Fixed::number("int32", "i32", 4),
    Fixed::number("uint32", "u32", 4),
    Fixed::number("int64", "i64", 8),
    Fixed { name: "float64", rust: "f64", method: "f64", size: 8, zero: "0.0" },
    Fixed { name: "uuid", rust: "[u8; 16]", method: "uuid", size: 16, zero: "[0; 16]" },
];

/// The type of a field without its nullability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Fixed(&'static Fixed),
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Type>),
}

/// One field of a message or of a structure.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) ty: Type,
    pub(crate) versions: Versions,
    pub(crate) nullable: Versions,
    /// As written: a number, `true`, `null`, or nothing for the type's zero.
    pub(crate) default: Option<String>,
    pub(crate) tag: Option<u32>,
    pub(crate) ignorable: bool,
}

impl Field {
    /// Whether any version of the message can carry null here, which makes it an `Option`.
    pub(crate) fn is_option(&self) -> bool {
        !self.nullable.meet(self.versions).is_empty() || self.ty == Type::Records
    }
}

/// What a message is to its users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
    Data,
    Key(i16),
    Value(i16),
}

/// A message: its own fields and the structures that its fields name.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) versions: Versions,
    pub(crate) flexible: Versions,
    pub(crate) fields: Vec<Field>,
    pub(crate) structs: BTreeMap<String, Vec<Field>>,
}

/// A request and its response.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) key: i16,
    pub(crate) name: String,
    pub(crate) versions: Versions,
    /// Versions that Kafka itself keeps behind a switch.
    pub(crate) unstable: Versions,
    pub(crate) flexible: Versions,
    pub(crate) by_hand: bool,
    pub(crate) request: Message,
    pub(crate) response: Message,
}

/// A line with its depth (two spaces each) and its number in the file.
struct Line<'a> {
    number: usize,
    depth: usize,
    words: Vec<&'a str>,
}

fn lines(text: &str) -> Result<Vec<Line<'_>>, String> {
    let mut lines = Vec::new();
    for (index, raw) in text.lines().enumerate() {
        let code = raw.split('#').next().unwrap_or_default();
        let words: Vec<&str> = code.split_whitespace().collect();
        if words.is_empty() {
            continue;
        }
        let spaces = code.len() - code.trim_start_matches(' ').len();
        if spaces % 2 != 0 {
            return Err(format!("line {}: indented by an odd number of spaces", index + 1));
        }
        lines.push(Line { number: index + 1, depth: spaces / 2, words });
    }
    Ok(lines)
}

/// Parses one file of `schema/api`: a header line, then a request, then a response.
pub(crate) fn parse_api(text: &str) -> Result<Api, String> {
    let lines = lines(text)?;
    let (head, rest) = lines.split_first().ok_or("empty file")?;
    let [first, key, name, ..] = head.words[..] else { return Err("expected: api KEY NAME …".to_owned()) };
    if first != "api" {
        return Err("expected: api KEY NAME …".to_owned());
    }
    let key = key.parse().map_err(|_| "the API key is no number".to_owned())?;
    let mut api = Header::default();
    api.read(&head.words[3..])?;
    let request_end = rest.iter().skip(1).position(|line| line.depth == 0).ok_or("no response")? + 1;
    let section = |lines: &[Line<'_>], word: &str, suffix: &str, kind| {
        if lines[0].words != [word] {
            return Err(format!("line {}: expected {word}", lines[0].number));
        }
        message(&format!("{name}{suffix}"), kind, &api, &lines[1..])
    };
    Ok(Api {
        key,
        name: name.to_owned(),
        versions: api.versions,
        unstable: api.unstable,
        flexible: api.flexible,
        by_hand: api.by_hand,
        request: section(&rest[..request_end], "request", "Request", Kind::Request)?,
        response: section(&rest[request_end..], "response", "Response", Kind::Response)?,
    })
}

/// Parses one file of `schema/records`: any number of `data`, `key` and `value` sections.
pub(crate) fn parse_records(text: &str) -> Result<Vec<Message>, String> {
    let lines = lines(text)?;
    let mut messages = Vec::new();
    let mut rest = &lines[..];
    while let Some((head, tail)) = rest.split_first() {
        let end = tail.iter().position(|line| line.depth == 0).unwrap_or(tail.len());
        let number = |word: &str| word.parse::<i16>().map_err(|_| format!("line {}: no number: {word}", head.number));
        let (kind, name, words) = match head.words[..] {
            ["data", name, ..] => (Kind::Data, name, &head.words[2..]),
            ["key", id, name, ..] => (Kind::Key(number(id)?), name, &head.words[3..]),
            ["value", id, name, ..] => (Kind::Value(number(id)?), name, &head.words[3..]),
            _ => return Err(format!("line {}: expected data, key or value", head.number)),
        };
        let mut header = Header::default();
        header.read(words)?;
        messages.push(message(name, kind, &header, &tail[..end])?);
        rest = &tail[end..];
    }
    Ok(messages)
}

struct Header {
    versions: Versions,
    unstable: Versions,
    flexible: Versions,
    by_hand: bool,
}

impl Default for Header {
    fn default() -> Self {
        Self { versions: Versions::NONE, unstable: Versions::NONE, flexible: Versions::NONE, by_hand: false }
    }
}

impl Header {
    fn read(&mut self, mut words: &[&str]) -> Result<(), String> {
        while let [word, rest @ ..] = words {
            words = match (*word, rest) {
                ("by-hand", rest) => {
                    self.by_hand = true;
                    rest
                }
                ("versions", [range, rest @ ..]) => {
                    self.versions = versions(range)?;
                    rest
                }
                ("unstable", [range, rest @ ..]) => {
                    self.unstable = versions(range)?;
                    rest
                }
                ("flexible", [range, rest @ ..]) => {
                    self.flexible = versions(range)?;
                    rest
                }
                _ => return Err(format!("unknown word in the header: {word}")),
            };
        }
        if self.versions.is_empty() { Err("no versions".to_owned()) } else { Ok(()) }
    }
}

fn versions(text: &str) -> Result<Versions, String> {
    let number = |text: &str| text.parse::<i16>().map_err(|_| format!("no version: {text}"));
    if let Some(min) = text.strip_suffix('+') {
        return Ok(Versions { min: number(min)?, max: i16::MAX });
    }
    match text.split_once('-') {
        Some((min, max)) => Ok(Versions { min: number(min)?, max: number(max)? }),
        None => number(text).map(|only| Versions { min: only, max: only }),
    }
}

fn message(name: &str, kind: Kind, header: &Header, lines: &[Line<'_>]) -> Result<Message, String> {
    let mut structs = BTreeMap::new();
    let mut rest = lines;
    let fields = fields(&mut rest, 1, header.versions, &mut structs)?;
    while let Some((head, tail)) = rest.split_first() {
        let ["struct", name] = head.words[..] else { return Err(format!("line {}: unexpected", head.number)) };
        rest = tail;
        let fields = self::fields(&mut rest, 2, header.versions, &mut structs)?;
        define(name, fields, &mut structs)?;
    }
    let message = Message {
        name: name.to_owned(),
        kind,
        versions: header.versions,
        flexible: header.flexible.meet(header.versions),
        fields,
        structs,
    };
    check(&message, &message.fields, &mut Vec::new())?;
    Ok(message)
}

fn define(name: &str, fields: Vec<Field>, structs: &mut BTreeMap<String, Vec<Field>>) -> Result<(), String> {
    match structs.insert(name.to_owned(), fields) {
        None => Ok(()),
        Some(_) => Err(format!("{name} is defined twice")),
    }
}

/// Reads the fields at `depth`; what is deeper below a field defines the structure that the field names.
fn fields(
    rest: &mut &[Line<'_>],
    depth: usize,
    scope: Versions,
    structs: &mut BTreeMap<String, Vec<Field>>,
) -> Result<Vec<Field>, String> {
    let mut found = Vec::new();
    while let Some((line, tail)) = rest.split_first() {
        if line.depth != depth || line.words[0] == "struct" {
            break;
        }
        let field = field(&line.words, scope).map_err(|error| format!("line {}: {error}", line.number))?;
        *rest = tail;
        if rest.first().is_some_and(|next| next.depth > depth) {
            let nested = fields(rest, depth + 1, field.versions, structs)?;
            let name = struct_name(&field.ty).ok_or(format!("line {}: fields below a plain type", line.number))?;
            define(name, nested, structs)?;
        }
        found.push(field);
    }
    Ok(found)
}

/// The structure that a type names, alone or as the element of an array.
pub(crate) fn struct_name(ty: &Type) -> Option<&str> {
    match ty {
        Type::Struct(name) => Some(name),
        Type::Array(element) => struct_name(element),
        Type::Fixed(_) | Type::String | Type::Bytes | Type::Records => None,
    }
}

fn field(words: &[&str], scope: Versions) -> Result<Field, String> {
    let [name, ty, words @ ..] = words else { return Err("expected: NAME TYPE …".to_owned()) };
    let (ty, nullable) = match ty.split_once('?') {
        None => (*ty, Versions::NONE),
        Some((ty, "")) => (ty, Versions::ALL),
        Some((ty, range)) => (ty, versions(range)?),
    };
    let mut field = Field {
        name: (*name).to_owned(),
        ty: parse_type(ty)?,
        versions: scope,
        nullable,
        default: None,
        tag: None,
        ignorable: false,
    };
    let mut words = words;
    while let [word, rest @ ..] = words {
        words = match (*word, rest) {
            ("ignorable", rest) => {
                field.ignorable = true;
                rest
            }
            ("=", [default, rest @ ..]) => {
                field.default = Some((*default).to_owned());
                rest
            }
            ("tag", [tag, rest @ ..]) => {
                field.tag = Some(tag.parse().map_err(|_| format!("no tag: {tag}"))?);
                rest
            }
            (range, rest) => {
                field.versions = versions(range)?.meet(scope);
                rest
            }
        };
    }
    Ok(field)
}

fn parse_type(text: &str) -> Result<Type, String> {
    if let Some(element) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return Ok(Type::Array(Box::new(parse_type(element)?)));
    }
    if let Some(fixed) = FIXED.iter().find(|fixed| fixed.name == text) {
        return Ok(Type::Fixed(fixed));
    }
    Ok(match text {
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "records" => Type::Records,
        name if name.starts_with(char::is_uppercase) => Type::Struct(name.to_owned()),
        other => return Err(format!("unknown type: {other}")),
    })
}

/// Every structure exists, none contains itself (so decoding cannot recurse without end), tags are 0, 1, 2, … and lie
/// in flexible versions.
fn check(message: &Message, fields: &[Field], path: &mut Vec<String>) -> Result<(), String> {
    let mut tags: Vec<u32> = fields.iter().filter_map(|field| field.tag).collect();
    tags.sort_unstable();
    if tags.iter().enumerate().any(|(index, tag)| index as u32 != *tag) {
        return Err(format!("{}: tags are not 0, 1, 2, …", message.name));
    }
    for field in fields {
        if field.tag.is_some() && !message.flexible.covers(field.versions) {
            return Err(format!("{}.{}: tagged in a version that is not flexible", message.name, field.name));
        }
        if matches!(field.ty, Type::Fixed(_)) && field.is_option() {
            return Err(format!("{}.{}: this type cannot be null", message.name, field.name));
        }
        if let Some(name) = struct_name(&field.ty) {
            if path.iter().any(|outer| outer == name) {
                return Err(format!("{}: {name} contains itself", message.name));
            }
            let fields = message.structs.get(name).ok_or(format!("{}: no structure {name}", message.name))?;
            path.push(name.to_owned());
            check(message, fields, path)?;
            path.pop();
        }
    }
    Ok(())
}
