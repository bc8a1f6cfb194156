//! Lists in pages: how long, from where, and the shape they have.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::Serialize;

use super::input::Parameters;
use crate::control::error::ControlError;

/// What part of a list is asked for.
pub struct Page {
    /// At most so many.
    pub limit: usize,
    /// What the cursor says, decoded.
    pub after: Option<String>,
    fingerprint: u32,
}

/// A list as every resource answers it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub struct List<T> {
    object: &'static str,
    data: Vec<T>,
    has_more: bool,
    next_cursor: Option<String>,
}

/// Rows of a page that does not say otherwise.
const USUAL: usize = 100;
/// Rows of a page at most.
pub const LONGEST: usize = 1_000;

impl Page {
    /// Reads `limit` and `cursor`.
    ///
    /// # Errors
    /// If either is malformed.
    pub fn of(parameters: &mut Parameters) -> Result<Self, ControlError> {
        let limit = match parameters.number("limit")? {
            None => USUAL,
            Some(limit) => usize::try_from(limit)
                .ok()
                .filter(|limit| (1..=LONGEST).contains(limit))
                .ok_or_else(|| ControlError::invalid("limit", format!("limit must be 1 to {LONGEST}")))?,
        };
        let fingerprint = parameters.fingerprint();
        let after = parameters.one("cursor")?.map(|cursor| decode(&cursor, fingerprint).ok_or_else(bad_cursor)).transpose()?;
        Ok(Self { limit, after, fingerprint })
    }

    /// One row more than is shown: whether there are more.
    pub fn fetched(&self) -> usize {
        self.limit + 1
    }

    /// The list of what was [`fetched`](Self::fetched); `place` says where a row stands.
    pub fn list<R, T>(&self, mut rows: Vec<R>, place: impl Fn(&R) -> String, shown: impl FnMut(R) -> T) -> List<T> {
        let has_more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let next_cursor = rows.last().filter(|_| has_more).map(|row| encode(&place(row), self.fingerprint));
        List { object: "list", data: rows.into_iter().map(shown).collect(), has_more, next_cursor }
    }
}

impl<T> List<T> {
    /// A list that fits one page.
    pub fn whole(data: Vec<T>) -> Self {
        Self { object: "list", data, has_more: false, next_cursor: None }
    }
}

/// A cursor that no answer to this question has given.
pub fn bad_cursor() -> ControlError {
    ControlError::invalid("cursor", "cursor must be the next_cursor of an earlier answer to the same question")
}

/// A place in the answer to the question with this fingerprint, as a cursor.
pub fn encode(place: &str, fingerprint: u32) -> String {
    URL_SAFE_NO_PAD.encode(format!("{fingerprint:08x}{place}"))
}

/// The place; `None` if no answer to that question has given the cursor.
pub fn decode(cursor: &str, fingerprint: u32) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let place = text.strip_prefix(&format!("{fingerprint:08x}"))?;
    Some(place.to_owned()).filter(|place| !place.contains('\0'))
}
