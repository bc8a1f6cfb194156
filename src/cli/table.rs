//! Tables and cards made from responses of the admin API.
//!
//! Values may come from callers (a tag, a user, a name), so control characters are escaped: no
//! value can send commands to the terminal.

use comfy_table::{CellAlignment, ContentArrangement, Row, Table, presets};
use serde_json::Value;

/// Heading and alignment of a column.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    /// Left-aligned text.
    Left(&'static str),
    /// Right-aligned numbers.
    Right(&'static str),
}

/// Formats a table without borders, or the line `none` if there are no rows.
pub(super) fn render(columns: &[Column], rows: Vec<Vec<String>>, none: &str) -> String {
    if rows.is_empty() {
        return format!("{none}\n");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| match column {
        Column::Left(heading) | Column::Right(heading) => *heading,
    }));
    table.add_rows(rows.into_iter().map(|row| Row::from(row.iter().map(|cell| escape_controls(cell)).collect::<Vec<_>>())));
    for (nth, column) in columns.iter().enumerate() {
        let alignment = if let Column::Right(_) = column { CellAlignment::Right } else { CellAlignment::Left };
        if let Some(laid_out) = table.column_mut(nth) {
            laid_out.set_padding((0, 2)).set_cell_alignment(alignment);
        }
    }
    table.trim_fmt() + "\n"
}

/// Formats one object with one line per field; omits empty fields.
pub(super) fn card(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let shown = fields.iter().filter(|(_, value)| !value.is_empty());
    shown.map(|(name, value)| format!("{name:width$}  {}\n", escape_controls(value))).collect()
}

/// Returns a field as text; empty if it is absent or null.
pub(super) fn text(object: &Value, field: &str) -> String {
    plain(object.get(field).unwrap_or(&Value::Null))
}

/// Returns a value as text: lists joined by commas, objects as `name=value`.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => String::from("yes"),
        Value::Bool(false) => String::from("no"),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => fields.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect::<Vec<_>>().join(", "),
    }
}

/// Returns a field as an integer; 0 if it is absent.
pub(super) fn number(object: &Value, field: &str) -> i64 {
    object.get(field).and_then(Value::as_i64).unwrap_or(0)
}

/// Escapes control characters, so that no value can move the cursor, change colors or forge a line.
pub(super) fn escape_controls(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_terminal_control(c) { escaped.extend(c.escape_unicode()) } else { escaped.push(c) }
    }
    escaped
}

fn is_terminal_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_right_aligned_and_text_left() {
        let rows = vec![vec![String::from("acme"), String::from("7")], vec![String::from("b"), String::from("1,000")]];
        assert_eq!(
            render(&[Column::Left("TENANT"), Column::Right("CALLS")], rows, "none"),
            "TENANT  CALLS\nacme        7\nb       1,000\n"
        );
    }

    #[test]
    fn an_empty_table_is_one_line() {
        assert_eq!(render(&[Column::Left("TENANT")], Vec::new(), "no tenants"), "no tenants\n");
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escape_controls("a\u{1b}[31mb\nc\u{202e}d"), "a\\u{1b}[31mb\\u{a}c\\u{202e}d");
        assert_eq!(escape_controls("Grüße, 東京"), "Grüße, 東京");
    }

    #[test]
    fn a_card_omits_empty_fields() {
        let key = json!({"id": "key_1", "team": null, "tags": {"project": "apollo"}, "allowed_models": ["a", "b"]});
        let fields = ["id", "team", "tags", "allowed_models"].map(|name| (name, text(&key, name)));
        assert_eq!(card(&fields), "id              key_1\ntags            project=apollo\nallowed_models  a, b\n");
    }
}
