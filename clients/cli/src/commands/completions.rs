//! `ottla completions`: a completion script for a shell.

use std::io::Write;

use clap_complete::Shell;

use crate::failure::Result;

/// Prints a completion script
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ottla completions bash > ~/.local/share/bash-completion/completions/ottla
  ottla completions zsh > \"${fpath[1]}/_ottla\"
  ottla completions fish > ~/.config/fish/completions/ottla.fish")]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::command(), "ottla", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(())
}
