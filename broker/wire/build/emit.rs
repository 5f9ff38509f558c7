//! Writes the Rust of every message: modules, structures, defaults, trait implementations, tables.
//!
//! The bodies of `read` and `write` come from the two modules beside it. The output is compiled under the crate's own
//! lints, so it documents every item and has nothing unused.

use std::fmt::Write;

use crate::read::read_body;
use crate::schema::{Api, Field, Fixed, Kind, Message, Type, Versions};
use crate::write::write_body;

/// Names of Rust that a field may carry.
const KEYWORDS: [&str; 4] = ["type", "match", "ref", "move"];

/// What the code of one message's fields needs to know.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) message: &'a Message,
    /// The structure whose fields are being written out.
    pub(crate) owner: &'a str,
}

impl Context<'_> {
    /// The condition under which a version is in `range`, or `None` when every version of the message is.
    pub(crate) fn condition(&self, range: Versions) -> Option<String> {
        let all = self.message.versions;
        let range = range.meet(all);
        if range.covers(all) {
            None
        } else if range.is_empty() {
            Some("false".to_owned())
        } else if range.min == range.max {
            Some(format!("version == {}", range.min))
        } else if range.min <= all.min {
            Some(format!("version <= {}", range.max))
        } else if range.max >= all.max {
            Some(format!("version >= {}", range.min))
        } else {
            Some(format!("({}..={}).contains(&version)", range.min, range.max))
        }
    }

    /// The expression that says whether a version is flexible.
    pub(crate) fn flexible(&self) -> &'static str {
        match self.condition(self.message.flexible).as_deref() {
            None => "true",
            Some("false") => "false",
            Some(_) => "flexible",
        }
    }

    /// The statement that `flexible` needs, if any.
    pub(crate) fn flexible_let(&self) -> String {
        match self.condition(self.message.flexible) {
            Some(condition) if condition != "false" => format!("let flexible = {condition};\n"),
            _ => String::new(),
        }
    }
}

/// The name of a field in Rust.
pub(crate) fn ident(name: &str) -> String {
    if KEYWORDS.contains(&name) { format!("r#{name}") } else { name.to_owned() }
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for (index, letter) in name.char_indices() {
        if letter.is_uppercase() && index > 0 {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

/// The Rust type of a field without its `Option`.
fn plain_type(ty: &Type) -> String {
    match ty {
        Type::Fixed(fixed) => fixed.rust.to_owned(),
        Type::String => "String".to_owned(),
        Type::Bytes | Type::Records => "Bytes".to_owned(),
        Type::Struct(name) => name.clone(),
        Type::Array(element) => format!("Vec<{}>", plain_type(element)),
    }
}

fn rust_type(field: &Field) -> String {
    let plain = plain_type(&field.ty);
    if field.is_option() { format!("Option<{plain}>") } else { plain }
}

/// The default value of a type that the schema gives no default for, or `written` as the schema has it.
fn plain_default(ty: &Type, written: Option<&str>) -> String {
    match (ty, written) {
        (Type::Fixed(fixed), written) => written.unwrap_or(fixed.zero).to_owned(),
        (Type::String, None) => "String::new()".to_owned(),
        (Type::String, Some(text)) => format!("\"{text}\".to_owned()"),
        (Type::Bytes | Type::Records, _) => "Bytes::new()".to_owned(),
        (Type::Struct(name), _) => format!("{name}::default()"),
        (Type::Array(_), _) => "Vec::new()".to_owned(),
    }
}

fn defaults_to_null(field: &Field) -> bool {
    field.is_option() && (field.default.as_deref() == Some("null") || field.ty == Type::Records)
}

/// The expression of a field's default.
pub(crate) fn default_of(field: &Field) -> String {
    if defaults_to_null(field) {
        "None".to_owned()
    } else if field.is_option() {
        format!("Some({})", plain_default(&field.ty, None))
    } else {
        plain_default(&field.ty, field.default.as_deref())
    }
}

/// The expression that is true when `place` is not the field's default.
pub(crate) fn differs(field: &Field, place: &str) -> String {
    if defaults_to_null(field) {
        format!("{place}.is_some()")
    } else if field.is_option() {
        format!("{place}.as_ref().is_none_or(|value| {})", plain_differs(&field.ty, None, "value", "*value"))
    } else {
        plain_differs(&field.ty, field.default.as_deref(), place, place)
    }
}

fn plain_differs(ty: &Type, written: Option<&str>, place: &str, value: &str) -> String {
    match (ty, written) {
        (Type::Fixed(Fixed { name: "bool", .. }), Some("true")) => format!("!{value}"),
        (Type::Fixed(Fixed { name: "bool", .. }), _) => value.to_owned(),
        (Type::String, Some(text)) => format!("{place} != \"{text}\""),
        (Type::String | Type::Bytes | Type::Records | Type::Array(_), _) => format!("!{place}.is_empty()"),
        (Type::Fixed(_) | Type::Struct(_), written) => format!("{value} != {}", plain_default(ty, written)),
    }
}

/// Whether deriving `Default` gives the schema's default.
fn derives_default(fields: &[Field]) -> bool {
    let zero = |field: &Field| match field.is_option() {
        true => defaults_to_null(field),
        false => field.default.is_none(),
    };
    fields.iter().all(zero)
}

fn versions_text(versions: Versions, all: Versions) -> String {
    let versions = versions.meet(all);
    if versions.is_empty() {
        "In no version that is still spoken".to_owned()
    } else if versions.min == versions.max {
        format!("Version {}", versions.min)
    } else {
        format!("Versions {} to {}", versions.min, versions.max)
    }
}

fn field_doc(field: &Field, all: Versions) -> String {
    let mut doc = versions_text(field.versions, all);
    if let Some(default) = &field.default {
        write!(doc, "; {default} by default").expect("a String takes everything");
    }
    if let Some(tag) = field.tag {
        write!(doc, "; tag {tag}").expect("a String takes everything");
    }
    if field.ignorable {
        doc.push_str("; dropped where the version has no place for it");
    }
    doc.push('.');
    doc
}

fn structure(out: &mut String, message: &Message, name: &str, fields: &[Field]) {
    let derived = derives_default(fields);
    let doc = if name == message.name {
        format!("{} of the message.", versions_text(message.versions, message.versions))
    } else {
        format!("Part of `{}`.", message.name)
    };
    *out += &format!("/// {doc}\n#[derive(Clone, Debug, PartialEq{})]\n", if derived { ", Default" } else { "" });
    *out += &format!("pub struct {name} {{\n");
    for field in fields {
        *out += &format!("/// {}\n", field_doc(field, message.versions));
        *out += &format!("pub {}: {},\n", ident(&field.name), rust_type(field));
    }
    *out += "}\n";
    if !derived {
        *out += &format!("impl Default for {name} {{\nfn default() -> Self {{\nSelf {{\n");
        for field in fields {
            *out += &format!("{}: {},\n", ident(&field.name), default_of(field));
        }
        *out += "}\n}\n}\n";
    }
    let context = Context { message, owner: name };
    *out += &format!(
        "impl {name} {{\nfn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {{\n{}}}\n\
         fn write(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {{\n{}}}\n}}\n",
        with_unused(&read_body(context, fields), &["r", "version"]),
        with_unused(&write_body(context, fields), &["w", "version"]),
    );
}

/// Names the arguments that a body does not use, so that the compiler does not warn of them.
fn with_unused(body: &str, arguments: &[&str]) -> String {
    let body_without_field = body.replace("version: f_version", "").replace("self.version", "");
    let uses =
        |name: &&&str| !body_without_field.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == **name);
    let unused: Vec<&str> = arguments.iter().filter(uses).copied().collect();
    match unused[..] {
        [] => body.to_owned(),
        _ => format!("let _ = ({},);\n{body}", unused.join(", ")),
    }
}

fn module(out: &mut String, message: &Message, api: Option<&Api>) {
    let name = &message.name;
    if api.is_some_and(|api| api.by_hand) {
        *out += "#[cfg(test)]\n";
    }
    *out += &format!("/// `{name}` and its parts.\npub mod {} {{\n", snake(name));
    *out += "use crate::generated::*;\n\n";
    structure(out, message, name, &message.fields);
    for (part, fields) in &message.structs {
        structure(out, message, part, fields);
    }
    let kind = match (&message.kind, api) {
        (Kind::Request, Some(api)) => format!("Kind::Request(ApiKey::{})", api.name),
        (Kind::Response, Some(api)) => format!("Kind::Response(ApiKey::{})", api.name),
        (Kind::Key(id), _) => format!("Kind::Key({id})"),
        (Kind::Value(id), _) => format!("Kind::Value({id})"),
        (Kind::Request | Kind::Response | Kind::Data, _) => "Kind::Data".to_owned(),
    };
    *out += &format!(
        "impl Message for {name} {{\nconst NAME: &'static str = \"{name}\";\nconst KIND: Kind = {kind};\n\
         const VERSIONS: RangeInclusive<i16> = {}..={};\n\
         fn read_fields(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {{ Self::read(r, version) }}\n\
         fn write_fields(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {{ self.write(w, version) }}\n}}\n",
        message.versions.min, message.versions.max,
    );
    if let (Kind::Request, Some(api)) = (&message.kind, api) {
        *out += &format!(
            "impl Request for {name} {{\ntype Response = super::{}::{};\nconst KEY: ApiKey = ApiKey::{};\n}}\n",
            snake(&api.response.name),
            api.response.name,
            api.name
        );
    }
    *out += "}\n";
}

fn exports(out: &mut String, messages: &[(&Message, bool)]) {
    for (message, by_hand) in messages {
        if !by_hand {
            *out += &format!("pub use {}::{};\n", snake(&message.name), message.name);
        }
    }
    *out += "/// Every message, for tests, fuzzers and tools that walk them all.\n";
    *out += "pub static CATALOGUE: &[crate::message::Entry] = &[\n";
    for (message, _) in messages {
        *out += &format!("crate::message::Entry::of::<{}>(),\n", message.name);
    }
    *out += "];\n";
}

/// The modules of all requests and responses.
pub(crate) fn messages(apis: &[Api]) -> String {
    let mut out = String::new();
    let mut all = Vec::new();
    for api in apis {
        for message in [&api.request, &api.response] {
            module(&mut out, message, Some(api));
            all.push((message, api.by_hand));
        }
    }
    exports(&mut out, &all);
    out
}

/// The modules of all records and payloads.
pub(crate) fn records(messages: &[Message]) -> String {
    let mut out = String::new();
    for message in messages {
        module(&mut out, message, None);
    }
    exports(&mut out, &messages.iter().map(|message| (message, false)).collect::<Vec<_>>());
    out
}

/// The table of APIs.
pub(crate) fn api_keys(apis: &[Api]) -> String {
    let mut apis: Vec<&Api> = apis.iter().collect();
    apis.sort_by_key(|api| api.key);
    let mut out = "/// Every API that a client can call, by Kafka's name and number.\n\
                   #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\n#[repr(i16)]\npub enum ApiKey {\n"
        .to_owned();
    for api in &apis {
        out += &format!("/// `{}Request` and `{}Response`.\n{} = {},\n", api.name, api.name, api.name, api.key);
    }
    out += &format!("}}\nconst ALL: [ApiKey; {}] = [\n", apis.len());
    for api in &apis {
        out += &format!("ApiKey::{},\n", api.name);
    }
    out += "];\nconst fn row(key: ApiKey) -> Row {\nmatch key {\n";
    for api in &apis {
        let stable = if api.unstable.is_empty() { api.versions.max } else { api.unstable.min - 1 };
        let flexible = if api.flexible.is_empty() { i16::MAX } else { api.flexible.min };
        out += &format!(
            "ApiKey::{0} => Row {{ name: \"{0}\", min: {1}, max: {stable}, known: {2}, flexible: {flexible} }},\n",
            api.name, api.versions.min, api.versions.max,
        );
    }
    out += "}\n}\n";
    out
}
