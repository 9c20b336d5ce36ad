//! docs/protocol.md says what the table says; UPDATE_DOCS=1 writes it again.

use std::{fs, path::Path};

#[test]
fn protocol_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.md");
    let expected = tidegate::api::docs::protocol_markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), expected, "run `make docs`");
}
