//! Tables for people, made from what the admin API answers.
//!
//! Whatever is shown may have been chosen by a caller (a tag, a user, a name), so nothing reaches the terminal that could
//! command it: control characters are written out.

use comfy_table::{CellAlignment, ContentArrangement, Row, Table, presets};
use serde_json::Value;

/// A column's heading and side.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    /// Words.
    Left(&'static str),
    /// Figures.
    Right(&'static str),
}

/// Lays out a table without borders; a single line where there are no rows.
pub(super) fn render(columns: &[Column], rows: Vec<Vec<String>>, none: &str) -> String {
    if rows.is_empty() {
        return format!("{none}\n");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| match column {
        Column::Left(heading) | Column::Right(heading) => *heading,
    }));
    table.add_rows(rows.into_iter().map(|row| Row::from(row.iter().map(|cell| clean(cell)).collect::<Vec<_>>())));
    for (nth, column) in columns.iter().enumerate() {
        let alignment = if let Column::Right(_) = column { CellAlignment::Right } else { CellAlignment::Left };
        if let Some(laid_out) = table.column_mut(nth) {
            laid_out.set_padding((0, 2)).set_cell_alignment(alignment);
        }
    }
    table.trim_fmt() + "\n"
}

/// Lays out one thing as its fields, a line each; fields without a value are left out.
pub(super) fn card(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let shown = fields.iter().filter(|(_, value)| !value.is_empty());
    shown.map(|(name, value)| format!("{name:width$}  {}\n", clean(value))).collect()
}

/// A field as text; nothing for what is absent or null.
pub(super) fn text(object: &Value, field: &str) -> String {
    plain(object.get(field).unwrap_or(&Value::Null))
}

/// A value as text: lists joined by commas, objects as `name=value`.
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

/// A field as a whole number, 0 where there is none.
pub(super) fn number(object: &Value, field: &str) -> i64 {
    object.get(field).and_then(Value::as_i64).unwrap_or(0)
}

/// Control characters written out, so that no value can move the cursor, colour the screen or fake a line.
pub(super) fn clean(text: &str) -> String {
    text.chars().flat_map(|c| if commands_terminals(c) { Shown::Escaped(c.escape_unicode()) } else { Shown::Plain(Some(c)) }).collect()
}

fn commands_terminals(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

enum Shown {
    Plain(Option<char>),
    Escaped(std::char::EscapeUnicode),
}

impl Iterator for Shown {
    type Item = char;
    fn next(&mut self) -> Option<char> {
        match self {
            Shown::Plain(c) => c.take(),
            Shown::Escaped(escape) => escape.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_stand_right_and_words_left() {
        let rows = vec![vec![String::from("acme"), String::from("7")], vec![String::from("b"), String::from("1,000")]];
        assert_eq!(
            render(&[Column::Left("TENANT"), Column::Right("CALLS")], rows, "none"),
            "TENANT  CALLS\nacme        7\nb       1,000\n"
        );
    }

    #[test]
    fn an_empty_table_says_so() {
        assert_eq!(render(&[Column::Left("TENANT")], Vec::new(), "no tenants"), "no tenants\n");
    }

    #[test]
    fn a_value_cannot_command_the_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\nc\u{202e}d"), "a\\u{1b}[31mb\\u{a}c\\u{202e}d");
        assert_eq!(clean("Grüße, 東京"), "Grüße, 東京");
    }

    #[test]
    fn a_card_leaves_out_what_is_not_there() {
        let key = json!({"id": "key_1", "team": null, "tags": {"project": "apollo"}, "allowed_models": ["a", "b"]});
        let fields = ["id", "team", "tags", "allowed_models"].map(|name| (name, text(&key, name)));
        assert_eq!(card(&fields), "id              key_1\ntags            project=apollo\nallowed_models  a, b\n");
    }
}
