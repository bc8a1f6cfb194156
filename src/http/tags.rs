//! `x-aigw-tags: project=apollo,use-case=summaries`: the tags that a request brings itself.

use actix_web::http::header::{HeaderMap, HeaderName};

use crate::gateway::refusal::Refusal;

/// Maximum number of tags.
const MAX_TAGS: usize = 16;

/// Maximum length of a name and of a value in bytes.
const MAX_LENGTH: usize = 64;

static X_AIGW_TAGS: HeaderName = HeaderName::from_static("x-aigw-tags");

/// Returns the tags of a request, sorted by name. Of several with the same name, the one whose value
/// sorts first counts.
///
/// # Errors
/// The header is not a list of tags, or exceeds a limit.
pub fn read(headers: &HeaderMap) -> Result<Vec<(String, String)>, Refusal> {
    let Some(value) = headers.get(&X_AIGW_TAGS) else { return Ok(Vec::new()) };
    let wrong = || Refusal::InvalidValue {
        param: "x-aigw-tags".to_owned(),
        message: "x-aigw-tags has to read name=value,name=value: at most 16 tags of at most 64 visible characters each way".to_owned(),
    };
    let text = value.to_str().map_err(|_| wrong())?;
    let mut tags = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || name.len() > MAX_LENGTH || value.len() > MAX_LENGTH || tags.len() == MAX_TAGS {
            return Err(wrong());
        }
        tags.push((name.to_owned(), value.to_owned()));
    }
    tags.sort();
    tags.dedup_by(|later, earlier| later.0 == earlier.0);
    Ok(tags)
}
