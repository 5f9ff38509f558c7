//! Checking a document against a schema, as the API server does, with better sentences.

use serde_json::{Map, Value};

use super::path::FieldPath;
use super::problem::{Fact, nearest};
use super::schema::homes;
use crate::value::{DURATION_PATTERN, QUANTITY_PATTERN};

/// Finds everything in `value` that `schema` does not allow.
pub(super) fn check(schema: &Value, value: &Value) -> Vec<(FieldPath, Fact)> {
    let mut checker = Checker { root: schema, found: Vec::new() };
    checker.any(schema, value, &FieldPath::root());
    checker.found
}

struct Checker<'a> {
    root: &'a Value,
    found: Vec<(FieldPath, Fact)>,
}

impl Checker<'_> {
    fn report(&mut self, path: &FieldPath, fact: Fact) {
        self.found.push((path.clone(), fact));
    }

    fn any(&mut self, schema: &Value, value: &Value, path: &FieldPath) {
        if schema["x-kubernetes-int-or-string"] == true {
            return self.int_or_string(schema, value, path);
        }
        match (schema["type"].as_str(), value) {
            (Some("object"), Value::Object(fields)) => self.object(schema, fields, path),
            (Some("array"), Value::Array(items)) => self.array(schema, items, path),
            (Some("string"), Value::String(text)) => self.text(schema, text, path),
            (Some("boolean"), Value::Bool(_)) | (None, _) => {}
            (Some("integer"), _) if value.is_i64() || value.is_u64() => self.number(schema, value, path),
            (Some("number"), _) if value.is_number() => self.number(schema, value, path),
            (Some(_), _) => self.mistyped(schema, value, path),
        }
    }

    fn mistyped(&mut self, schema: &Value, value: &Value, path: &FieldPath) {
        let mut expected = match schema["type"].as_str() {
            Some("object") => match fields_of(schema).as_slice() {
                [] => "a map".to_owned(),
                known => format!("a map with {}", known.join(", ")),
            },
            Some("array") => "a list".to_owned(),
            Some("integer") => "a whole number".to_owned(),
            Some("number") => "a number".to_owned(),
            Some("boolean") => "true or false".to_owned(),
            _ => match words(schema) {
                words if words.is_empty() => "a string".to_owned(),
                words => format!("one of {}", words.join(", ")),
            },
        };
        let scalar = value.is_number() || value.is_boolean();
        if schema["type"] == "string" && schema["pattern"].is_string() {
            expected = schema["pattern"].as_str().map(meaning).unwrap_or_default();
        } else if schema["type"] == "string" && scalar && words(schema).is_empty() {
            expected = format!("{expected} (in quotes: \"{value}\")");
        }
        self.report(path, Fact::Mistyped { expected, found: describe(value) });
    }

    fn object(&mut self, schema: &Value, fields: &Map<String, Value>, path: &FieldPath) {
        let properties = schema["properties"].as_object();
        let free = schema["x-kubernetes-preserve-unknown-fields"] == true;
        for (name, value) in fields {
            let here = path.field(name);
            if let Some(inner) = properties.and_then(|properties| properties.get(name)) {
                self.any(inner, value, &here);
            } else if schema["additionalProperties"].is_object() {
                self.any(&schema["additionalProperties"], value, &here);
            } else if !free {
                let fact = self.unknown(schema, name, path);
                self.report(&here, fact);
            }
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                let description = schema["properties"][name]["description"].as_str().unwrap_or("it is required");
                self.report(&path.field(name), Fact::Missing { description: description.to_owned() });
            }
        }
    }

    fn unknown(&self, schema: &Value, name: &str, path: &FieldPath) -> Fact {
        let known = fields_of(schema);
        let near = nearest(name, known.iter().map(String::as_str)).map(|near| path.field(&near).to_string());
        let elsewhere = || match homes(self.root, name).as_slice() {
            [home] => Some(home.clone()),
            _ => None,
        };
        Fact::UnknownField { nearest: near.or_else(elsewhere), known }
    }

    fn array(&mut self, schema: &Value, items: &[Value], path: &FieldPath) {
        self.bounds(schema, "the number of items", ("minItems", "maxItems"), items.len() as f64, path);
        for (index, item) in items.iter().enumerate() {
            self.any(&schema["items"], item, &path.item(index));
        }
        let keys: Vec<&str> =
            schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let set = schema["x-kubernetes-list-type"] == "set";
        for (index, item) in items.iter().enumerate() {
            let same = |other: &Value| {
                (set && other == item)
                    || (!keys.is_empty() && keys.iter().all(|key| !item[*key].is_null() && other[*key] == item[*key]))
            };
            if items[..index].iter().any(same) {
                let what = keys.iter().map(|key| format!("{key} {}", item[*key])).collect::<Vec<_>>().join(", ");
                let what = if set { item.to_string() } else { what };
                self.report(&path.item(index), Fact::Rule(format!("another item of the list has {what} too")));
            }
        }
    }

    fn text(&mut self, schema: &Value, text: &str, path: &FieldPath) {
        let words = words(schema);
        if !words.is_empty() {
            if !words.iter().any(|word| word == text) {
                let nearest = nearest(text, words.iter().map(String::as_str));
                self.report(path, Fact::NotOneOf { found: text.to_owned(), allowed: words, nearest });
            }
            return;
        }
        self.bounds(schema, "the number of characters", ("minLength", "maxLength"), text.chars().count() as f64, path);
        let Some(pattern) = schema["pattern"].as_str() else { return };
        if !super::rules::matches(pattern, text) {
            self.report(path, Fact::Mistyped { expected: meaning(pattern), found: format!("{text:?}") });
        }
    }

    fn int_or_string(&mut self, schema: &Value, value: &Value, path: &FieldPath) {
        let pattern = schema["pattern"].as_str();
        let fits = match value {
            Value::String(text) => pattern.is_none_or(|pattern| super::rules::matches(pattern, text)),
            Value::Number(number) => number.is_u64() || (pattern.is_none() && number.is_i64()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
        };
        if !fits {
            let expected = pattern.map_or_else(|| "a number or a string".to_owned(), meaning);
            self.report(path, Fact::Mistyped { expected, found: describe(value) });
        }
    }

    fn number(&mut self, schema: &Value, value: &Value, path: &FieldPath) {
        let number = value.as_f64().unwrap_or_default();
        if schema["format"] == "int32" && !(f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number) {
            let bound = format!("at most {}", i32::MAX);
            return self.report(path, Fact::OutOfBounds { what: "the number", bound, found: value.to_string() });
        }
        self.bounds(schema, "the number", ("minimum", "maximum"), number, path);
    }

    fn bounds(&mut self, schema: &Value, what: &'static str, names: (&str, &str), found: f64, path: &FieldPath) {
        let (low, high) = (schema[names.0].as_f64(), schema[names.1].as_f64());
        if low.is_none_or(|low| found >= low) && high.is_none_or(|high| found <= high) {
            return;
        }
        let bound = match (low, high) {
            (Some(low), Some(high)) if low == high => format!("{low}"),
            (Some(low), Some(high)) => format!("between {low} and {high}"),
            (Some(low), None) => format!("at least {low}"),
            (None, Some(high)) => format!("at most {high}"),
            (None, None) => return,
        };
        self.report(path, Fact::OutOfBounds { what, bound, found: found.to_string() });
    }
}

fn fields_of(schema: &Value) -> Vec<String> {
    let mut names: Vec<String> = schema["properties"].as_object().into_iter().flat_map(Map::keys).cloned().collect();
    names.sort();
    names
}

fn words(schema: &Value) -> Vec<String> {
    schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What a pattern asks for, in words.
fn meaning(pattern: &str) -> String {
    match pattern {
        QUANTITY_PATTERN => "a quantity such as 512Mi, 100Gi or 1048576".to_owned(),
        DURATION_PATTERN => "a duration such as 30s, 10m or 1h30m".to_owned(),
        r"^[a-zA-Z0-9._-]+$" => "letters, digits, dots, hyphens and underscores".to_owned(),
        r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" => "small letters, digits and hyphens between them".to_owned(),
        r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$" => "small letters, digits, and hyphens and dots between them".to_owned(),
        other => format!("a text of the form {other}"),
    }
}

/// A value as a person would name it.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.chars().count() > 40 => "a long string".to_owned(),
        Value::String(text) => format!("the string {text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
    }
}
