//! Translation of a message's content parts (section 3.3).

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::body::{CacheControl, InputBlock, MediaSource};
use super::data_url::{self, DataUrl};
use super::refusal::{invalid, unsupported};
use crate::dialect::anthropic::text::{Text, is_blank};
use crate::dialect::request::Refused;

/// Content of a message: text or parts.
#[derive(Debug)]
pub enum MessageContent<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<ContentPart<'a>>),
}

/// Content part, as the client sent it.
#[derive(Debug, Deserialize)]
pub struct ContentPart<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    #[serde(borrow)]
    image_url: Option<ImageUrl<'a>>,
    #[serde(borrow)]
    file: Option<File<'a>>,
    #[serde(borrow)]
    pub cache_control: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct ImageUrl<'a> {
    #[serde(borrow)]
    url: Text<'a>,
}

#[derive(Debug, Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    file_data: Option<Text<'a>>,
    #[serde(borrow)]
    filename: Option<Text<'a>>,
    #[serde(borrow)]
    file_id: Option<Text<'a>>,
}

/// Author of a message, which decides the allowed part types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    System,
    User,
    Assistant,
    Tool,
}

/// Position of a part, for the `param` of a refusal.
#[derive(Clone, Copy)]
struct Place {
    message: usize,
    part: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "messages[{}].content[{}]", self.message, self.part)
    }
}

impl<'a> MessageContent<'a> {
    /// Converts the content to blocks; blank text gives none. `message` is the message's index.
    pub fn into_blocks(self, author: Author, message: usize) -> Result<Vec<InputBlock<'a>>, Refused> {
        match self {
            Self::Text(text) if is_blank(&text) => Ok(Vec::new()),
            Self::Text(text) => Ok(vec![InputBlock::text(text)]),
            Self::Parts(parts) => {
                let mut blocks = Vec::with_capacity(parts.len());
                for (index, part) in parts.into_iter().enumerate() {
                    blocks.extend(part.into_block(author, Place { message, part: index })?);
                }
                Ok(blocks)
            }
        }
    }
}

impl<'a> ContentPart<'a> {
    fn into_block(self, author: Author, place: Place) -> Result<Option<InputBlock<'a>>, Refused> {
        let cache_control = self.cache_control;
        let block = match (self.kind.as_ref().map(|kind| &*kind.0), author) {
            (Some("text"), _) => return text(self.text, cache_control, place),
            (Some("refusal"), Author::Assistant) => return text(self.refusal, cache_control, place),
            (Some("image_url"), Author::User | Author::Tool) => {
                let Some(ImageUrl { url }) = self.image_url else { return Err(invalid(place, "missing `image_url.url`")) };
                image(url.0, cache_control, place)?
            }
            (Some("file"), Author::User | Author::Tool) => {
                let Some(given) = self.file else { return Err(invalid(place, "missing `file`")) };
                file(given, cache_control, place)?
            }
            (None, _) => return Err(invalid(place, "a content part needs a `type`")),
            (Some(_), Author::System) => return Err(unsupported(place, "system and developer messages hold nothing but text")),
            (Some(_), Author::Assistant) => return Err(unsupported(place, "assistant messages hold nothing but text and refusals")),
            (Some(_), _) => {
                return Err(unsupported(place, "this model takes text, image_url and file parts only: leave the others out"));
            }
        };
        Ok(Some(block))
    }
}

fn text<'a>(text: Option<Text<'a>>, cache_control: CacheControl<'a>, place: Place) -> Result<Option<InputBlock<'a>>, Refused> {
    let Some(Text(text)) = text else { return Err(invalid(place, "missing text")) };
    Ok((!is_blank(&text)).then_some(InputBlock::Text { text, cache_control }))
}

fn image<'a>(url: Cow<'a, str>, cache_control: CacheControl<'a>, place: Place) -> Result<InputBlock<'a>, Refused> {
    if data_url::has_scheme(&url, "https://") {
        return Ok(InputBlock::Image { source: MediaSource::Url { url }, cache_control });
    }
    let Some(DataUrl { media_type, data }) = data_url::parse(&url) else {
        return Err(unsupported(place, "unsupported image URL; send an https: URL or a base64 data: URL"));
    };
    let media_type = match media_type.as_str() {
        "image/jpeg" | "image/jpg" => "image/jpeg",
        "image/png" => "image/png",
        "image/gif" => "image/gif",
        "image/webp" => "image/webp",
        "application/pdf" => return document(&media_type, data, None, cache_control, place),
        _ => return Err(unsupported(place, "unsupported image type; send JPEG, PNG, GIF or WebP")),
    };
    Ok(InputBlock::Image { source: MediaSource::Base64 { media_type, data: checked(data, place)? }, cache_control })
}

fn file<'a>(file: File<'a>, cache_control: CacheControl<'a>, place: Place) -> Result<InputBlock<'a>, Refused> {
    let title = file.filename.filter(|name| !name.is_blank()).map(|name| name.0);
    let Some(Text(data)) = file.file_data else {
        return Err(match file.file_id {
            Some(_) => unsupported(place, "file ids are not supported by this provider; send `file_data`"),
            None => invalid(place, "missing `file_data`"),
        });
    };
    if data_url::has_scheme(&data, "data:") {
        let Some(DataUrl { media_type, data }) = data_url::parse(&data) else {
            return Err(unsupported(place, "unsupported data: URL; use base64"));
        };
        return document(&media_type, data, title, cache_control, place);
    }
    let is_text = title.as_ref().is_some_and(|name| name.to_ascii_lowercase().ends_with(".txt"));
    document(if is_text { "text/plain" } else { "application/pdf" }, data, title, cache_control, place)
}

fn document<'a>(
    media_type: &str,
    data: Cow<'a, str>,
    title: Option<Cow<'a, str>>,
    cache_control: CacheControl<'a>,
    place: Place,
) -> Result<InputBlock<'a>, Refused> {
    let source = match media_type {
        "application/pdf" => MediaSource::Base64 { media_type: "application/pdf", data: checked(data, place)? },
        "text/plain" => {
            let bytes = STANDARD.decode(checked(data, place)?.as_bytes()).map_err(|_| not_base64(place))?;
            let data = String::from_utf8(bytes).map_err(|_| invalid(place, "text file is not UTF-8"))?;
            MediaSource::Text { media_type: "text/plain", data }
        }
        _ => return Err(unsupported(place, "unsupported file type; send PDF or plain text")),
    };
    Ok(InputBlock::Document { source, title, cache_control })
}

/// Returns `data` if it is base64.
fn checked(data: Cow<'_, str>, place: Place) -> Result<Cow<'_, str>, Refused> {
    if data_url::is_base64(&data) { Ok(data) } else { Err(not_base64(place)) }
}

fn not_base64(place: Place) -> Refused {
    invalid(place, "invalid base64; use the standard alphabet, padding and no line breaks")
}

impl<'de: 'a, 'a> Deserialize<'de> for MessageContent<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;
        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = MessageContent<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of content parts")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(MessageContent::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(MessageContent::Text(Cow::Owned(text.to_owned())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut parts = Vec::new();
                while let Some(part) = items.next_element()? {
                    parts.push(part);
                }
                Ok(MessageContent::Parts(parts))
            }
        }
        deserializer.deserialize_any(ContentVisitor)
    }
}
