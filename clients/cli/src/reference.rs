//! The reference of the command line, from the same definitions as `--help`.
//!
//! Owns `docs/reference/cli.md`; a test fails when the file and the definitions differ.

use std::fmt::Write;

/// The whole reference as Markdown.
pub fn markdown() -> String {
    let mut text = "# The `ottla` command\n\nGenerated from the command's own help; \
                    `OTTLA_UPDATE=1 cargo test -p ottla-cli reference` writes it again.\n"
        .to_owned();
    let mut command = crate::command().term_width(110);
    command.build();
    section(&mut text, &command, "ottla");
    text
}

fn section(text: &mut String, command: &clap::Command, name: &str) {
    let help = command.clone().render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    // Writing to a String cannot fail.
    let _ = write!(text, "\n## `{name}`\n\n```text\n{}\n```\n", help.join("\n").trim_end());
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()) {
        section(text, sub, &format!("{name} {}", sub.get_name()));
    }
}
