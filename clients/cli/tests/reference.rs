//! `docs/reference/cli.md` says what the command says, `ottla dev` included.
#![cfg(feature = "dev")]

use std::path::Path;

#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cli.md");
    let expected = ottla_cli::reference::markdown();
    if std::env::var_os("OTTLA_UPDATE").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == expected,
        "docs/reference/cli.md is stale: run `OTTLA_UPDATE=1 cargo test -p ottla-cli --test reference`"
    );
}
