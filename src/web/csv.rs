//! Cells of files for spreadsheets.

/// One cell. A spreadsheet would run a text that begins like a formula: an apostrophe makes it text.
pub fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r', '\'']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

/// Cells as a line.
pub fn line<const N: usize>(cells: [String; N]) -> String {
    cells.map(|text| cell(&text)).join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_can_neither_break_out_nor_be_run() {
        assert_eq!(cell("plain"), "plain");
        assert_eq!(cell("a,b\"c\nd"), "\"a,b\"\"c\nd\"");
        assert_eq!(cell("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
        for start in ["+1", "-1", "@x", "\tx"] {
            assert!(cell(start).starts_with("\"'"), "{start}");
        }
    }
}
