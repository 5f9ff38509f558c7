//! The body of a structure's `write`.

use crate::emit::{Context, differs, ident};
use crate::schema::{Field, Type};

/// Statements that write every field that the version has a place for, and refuse what it has none for.
pub(crate) fn write_body(context: Context<'_>, fields: &[Field]) -> String {
    let mut out = context.flexible_let();
    for field in fields.iter().filter(|field| field.tag.is_none()) {
        let write = field_write(context, field);
        out += &match context.condition(field.versions) {
            None => format!("{write};\n"),
            Some(condition) if condition == "false" => refusal(context, field),
            Some(condition) if field.ignorable => format!("if {condition} {{ {write}; }}\n"),
            Some(condition) => format!("if {condition} {{ {write}; }} else {{ {} }}\n", refusal(context, field)),
        };
    }
    out + &tags(context, fields) + "Ok(())\n"
}

/// A field that the version has no place for: an error unless it has its default.
fn refusal(context: Context<'_>, field: &Field) -> String {
    if field.ignorable {
        return String::new();
    }
    let differs = differs(field, &format!("self.{}", ident(&field.name)));
    format!("if {differs} {{ return Err(EncodeError::absent({}, version)); }}\n", path(context, field))
}

fn path(context: Context<'_>, field: &Field) -> String {
    format!("\"{}.{}\"", context.owner, field.name)
}

fn tags(context: Context<'_>, fields: &[Field]) -> String {
    let mut tagged: Vec<&Field> = fields.iter().filter(|field| field.tag.is_some()).collect();
    tagged.sort_by_key(|field| field.tag);
    let flexible = context.flexible();
    if flexible == "false" {
        return String::new();
    }
    let mut out = String::new();
    for field in &tagged {
        let differs = differs(field, &format!("self.{}", ident(&field.name)));
        let Some(condition) = context.condition(field.versions) else {
            out += &format!("let t_{} = {differs};\n", field.name);
            continue;
        };
        out += &format!("let t_{} = {condition} && {differs};\n", field.name);
        if !field.ignorable {
            let refuse = format!("return Err(EncodeError::absent({}, version));", path(context, field));
            out += &format!("if !t_{} && {differs} {{ {refuse} }}\n", field.name);
        }
    }
    let count: Vec<String> = tagged.iter().map(|field| format!("u32::from(t_{})", field.name)).collect();
    let count = if count.is_empty() { "0".to_owned() } else { count.join(" + ") };
    let mut write = format!("w.uvarint({count});\n");
    for field in &tagged {
        let (name, tag) = (&field.name, field.tag.expect("only tagged fields are here"));
        let value = field_write(context, field);
        write += &format!("if t_{name} {{ w.tag({tag}, |w| {{ {value}; Ok(()) }})?; }}\n");
    }
    if flexible == "true" { out + &write } else { out + &format!("if flexible {{ {write} }}\n") }
}

/// The statement that writes a field that is there, without its semicolon.
fn field_write(context: Context<'_>, field: &Field) -> String {
    let place = format!("self.{}", ident(&field.name));
    if !field.is_option() {
        return plain_write(context, &field.ty, &place, &format!("&{place}"));
    }
    let flexible = context.flexible();
    let there = field.versions.meet(context.message.versions);
    let nullable = if field.nullable.covers(there) && !there.is_empty() {
        "true".to_owned()
    } else {
        context.condition(field.nullable).unwrap_or("true".to_owned())
    };
    let name = format!("{nullable}, {}", path(context, field));
    match &field.ty {
        Type::String => format!("w.string_or_null({flexible}, {name}, {place}.as_deref())?"),
        Type::Bytes | Type::Records => format!("w.bytes_or_null({flexible}, {name}, {place}.as_ref())?"),
        Type::Struct(_) => {
            format!("w.struct_or_null({name}, {place}.as_ref(), |w, value| value.write(w, version))?")
        }
        Type::Array(element) => format!(
            "w.array_or_null({flexible}, {name}, {place}.as_deref(), |w, value| {})?",
            element_write(context, element)
        ),
        Type::Fixed(_) => unreachable!("the schema's check refuses a fixed type that can be null"),
    }
}

fn plain_write(context: Context<'_>, ty: &Type, value: &str, reference: &str) -> String {
    let flexible = context.flexible();
    match ty {
        Type::Fixed(fixed) => {
            let argument = if fixed.name == "uuid" { reference } else { value };
            format!("w.{}({argument})", fixed.method)
        }
        Type::String => format!("w.string({flexible}, {reference})?"),
        Type::Bytes | Type::Records => format!("w.bytes({flexible}, {reference})?"),
        Type::Struct(_) => format!("{}.write(w, version)?", reference.trim_start_matches('&')),
        Type::Array(element) => {
            format!("w.array({flexible}, {reference}, |w, value| {})?", element_write(context, element))
        }
    }
}

/// The body of the closure that writes one element, an expression of type `Result`.
fn element_write(context: Context<'_>, element: &Type) -> String {
    let write = plain_write(context, element, "*value", "value");
    match write.strip_suffix('?') {
        Some(fallible) => fallible.to_owned(),
        None => format!("{{ {write}; Ok(()) }}"),
    }
}
