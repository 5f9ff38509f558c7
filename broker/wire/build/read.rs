//! The body of a structure's `read`, and the smallest size that a type can have on the wire.

use crate::emit::{Context, default_of, ident};
use crate::schema::{Field, Message, Type, Versions};

/// Statements that read every field into a variable of its own, then build the structure.
pub(crate) fn read_body(context: Context<'_>, fields: &[Field]) -> String {
    let mut out = context.flexible_let();
    for field in fields.iter().filter(|field| field.tag.is_none()) {
        let value = field_value(context, field);
        match context.condition(field.versions) {
            None => out += &format!("let f_{} = {value};\n", field.name),
            Some(condition) if condition == "false" => {
                out += &format!("let f_{} = {};\n", field.name, default_of(field));
            }
            Some(condition) => {
                out +=
                    &format!("let f_{} = if {condition} {{ {value} }} else {{ {} }};\n", field.name, default_of(field));
            }
        }
    }
    out += &tags(context, fields);
    out += "Ok(Self {\n";
    for field in fields {
        out += &format!("{}: f_{},\n", ident(&field.name), field.name);
    }
    out + "})\n"
}

fn tags(context: Context<'_>, fields: &[Field]) -> String {
    let mut out = String::new();
    let mut arms = String::new();
    for field in fields {
        let Some(tag) = field.tag else { continue };
        out += &format!("let mut f_{} = {};\n", field.name, default_of(field));
        let guard = context.condition(field.versions.meet(context.message.flexible));
        let guard = match guard {
            Some(guard) if Some(&guard) != context.condition(context.message.flexible).as_ref() => {
                format!(" if {guard}")
            }
            _ => String::new(),
        };
        arms += &format!("{tag}{guard} => f_{} = {},\n", field.name, field_value(context, field));
    }
    let read = match arms.is_empty() {
        true => "r.skip_tags()?;\n".to_owned(),
        false => format!("r.tags(|r, tag| {{\nmatch tag {{\n{arms}_ => return Ok(false),\n}}\nOk(true)\n}})?;\n"),
    };
    match context.flexible() {
        "false" => out,
        "true" => out + &read,
        _ => out + &format!("if flexible {{ {read} }}\n"),
    }
}

/// The expression that reads a field that is there.
fn field_value(context: Context<'_>, field: &Field) -> String {
    let never = field.nullable.meet(field.versions).meet(context.message.versions).is_empty();
    if never {
        let plain = format!("{}?", plain_value(context, &field.ty, field.versions));
        return if field.is_option() { format!("Some({plain})") } else { plain };
    }
    let nullable = format!("{}?", nullable_value(context, &field.ty, field.versions));
    if field.nullable.covers(field.versions.meet(context.message.versions)) {
        return nullable;
    }
    let condition = context.condition(field.nullable).expect("null is not allowed in every version");
    format!("if {condition} {{ {nullable} }} else {{ Some({}?) }}", plain_value(context, &field.ty, field.versions))
}

fn plain_value(context: Context<'_>, ty: &Type, versions: Versions) -> String {
    let flexible = context.flexible();
    match ty {
        Type::Fixed(fixed) => format!("r.{}()", fixed.method),
        Type::String => format!("r.string({flexible})"),
        Type::Bytes | Type::Records => format!("r.bytes({flexible})"),
        Type::Struct(name) => format!("{name}::read(r, version)"),
        Type::Array(element) => format!(
            "r.array({flexible}, {}, |r| {})",
            min_size_expression(context.message, element, versions),
            plain_value(context, element, versions)
        ),
    }
}

fn nullable_value(context: Context<'_>, ty: &Type, versions: Versions) -> String {
    let flexible = context.flexible();
    match ty {
        Type::String => format!("r.string_or_null({flexible})"),
        Type::Bytes | Type::Records => format!("r.bytes_or_null({flexible})"),
        Type::Struct(name) => format!("r.struct_or_null(|r| {name}::read(r, version))"),
        Type::Array(element) => format!(
            "r.array_or_null({flexible}, {}, |r| {})",
            min_size_expression(context.message, element, versions),
            plain_value(context, element, versions)
        ),
        Type::Fixed(_) => unreachable!("the schema's check refuses a fixed type that can be null"),
    }
}

/// The smallest size of a type by version, as an expression.
fn min_size_expression(message: &Message, ty: &Type, versions: Versions) -> String {
    let range = versions.meet(message.versions);
    if range.is_empty() {
        return "1".to_owned();
    }
    let mut runs: Vec<(i16, usize)> = Vec::new();
    for version in range.min..=range.max {
        let size = min_size(message, ty, false, version).max(1);
        match runs.last_mut() {
            Some((until, last)) if *last == size => *until = version,
            _ => runs.push((version, size)),
        }
    }
    let (_, newest) = runs.pop().expect("a range that is not empty has a run");
    if runs.is_empty() {
        return newest.to_string();
    }
    let mut arms = String::new();
    let mut from = String::new();
    for (until, size) in &runs {
        arms += &format!("{from}..={until} => {size}, ");
        from = (until + 1).to_string();
    }
    format!("match version {{ {arms}_ => {newest} }}")
}

fn min_size(message: &Message, ty: &Type, nullable: bool, version: i16) -> usize {
    let flexible = message.flexible.contains(version);
    match ty {
        Type::Fixed(fixed) => fixed.size,
        Type::String if !flexible => 2,
        Type::Bytes | Type::Records | Type::Array(_) if !flexible => 4,
        Type::String | Type::Bytes | Type::Records | Type::Array(_) => 1,
        Type::Struct(_) if nullable => 1,
        Type::Struct(name) => {
            let there = |field: &&Field| field.tag.is_none() && field.versions.contains(version);
            let size = |field: &Field| min_size(message, &field.ty, field.nullable.contains(version), version);
            usize::from(flexible) + message.structs[name].iter().filter(there).map(size).sum::<usize>()
        }
    }
}
