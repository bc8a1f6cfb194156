//! Pagination of lists: limit, cursor and the format of a page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::Serialize;

use super::input::Parameters;
use crate::control::error::ControlError;

/// The requested part of a list.
pub struct Page {
    /// Maximum number of rows.
    pub limit: usize,
    /// Decoded cursor: the position to start after.
    pub after: Option<String>,
    fingerprint: u32,
}

/// A page of a list, in the format of all resources.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub struct ListJson<T> {
    object: &'static str,
    data: Vec<T>,
    has_more: bool,
    next_cursor: Option<String>,
}

/// Rows of a page by default.
const DEFAULT_LIMIT: usize = 100;
/// Maximum rows of a page.
pub const MAX_LIMIT: usize = 1_000;

impl Page {
    /// Parses `limit` and `cursor`.
    ///
    /// # Errors
    /// If either is malformed.
    pub fn of(parameters: &mut Parameters) -> Result<Self, ControlError> {
        let limit = match parameters.number("limit")? {
            None => DEFAULT_LIMIT,
            Some(limit) => usize::try_from(limit)
                .ok()
                .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                .ok_or_else(|| ControlError::invalid("limit", format!("limit must be 1 to {MAX_LIMIT}")))?,
        };
        let fingerprint = parameters.fingerprint();
        let after = parameters.one("cursor")?.map(|cursor| decode(&cursor, fingerprint).ok_or_else(bad_cursor)).transpose()?;
        Ok(Self { limit, after, fingerprint })
    }

    /// Rows to fetch: one more than the limit, to know whether there are more.
    pub fn fetched(&self) -> usize {
        self.limit + 1
    }

    /// Builds the page from the [`fetched`](Self::fetched) rows. `position` returns the cursor
    /// position of a row.
    pub fn list<R, T>(&self, mut rows: Vec<R>, position: impl Fn(&R) -> String, shown: impl FnMut(R) -> T) -> ListJson<T> {
        let has_more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let next_cursor = rows.last().filter(|_| has_more).map(|row| encode(&position(row), self.fingerprint));
        ListJson { object: "list", data: rows.into_iter().map(shown).collect(), has_more, next_cursor }
    }
}

impl<T> ListJson<T> {
    /// Builds a list that always fits one page.
    pub fn whole(data: Vec<T>) -> Self {
        Self { object: "list", data, has_more: false, next_cursor: None }
    }
}

/// The error for a cursor that does not belong to this query.
pub fn bad_cursor() -> ControlError {
    ControlError::invalid("cursor", "cursor must be the next_cursor of an earlier response to the same query")
}

/// Encodes a position in the result of the query with this fingerprint as a cursor.
pub fn encode(position: &str, fingerprint: u32) -> String {
    URL_SAFE_NO_PAD.encode(format!("{fingerprint:08x}{position}"))
}

/// Decodes a cursor; `None` if it does not belong to the query with this fingerprint.
pub fn decode(cursor: &str, fingerprint: u32) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let position = text.strip_prefix(&format!("{fingerprint:08x}"))?;
    Some(position.to_owned()).filter(|position| !position.contains('\0'))
}
