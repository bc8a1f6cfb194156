//! The head of a part: its name, and whether it is a text.

use super::parameters::{HeaderParameters, is_token};

/// Findings of a head.
#[derive(Debug, PartialEq)]
pub(super) struct PartHead<'a> {
    pub name: &'a str,
    /// Whether it is a text field, not a file.
    pub is_text: bool,
}

/// Parses the lines of a head.
///
/// # Errors
/// The rule that is broken.
pub(super) fn read(head: &[u8]) -> Result<PartHead<'_>, &'static str> {
    let head = str::from_utf8(head).map_err(|_| "head of a part that is not UTF-8")?;
    let (mut disposition, mut media_type, mut encoding) = (None, None, None);
    for line in head.split("\r\n") {
        let (name, value) = line.split_once(':').filter(|(name, _)| is_token(name)).ok_or("malformed header line of a part")?;
        if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err("control character in the head of a part");
        }
        let slot = match () {
            () if name.eq_ignore_ascii_case("content-disposition") => &mut disposition,
            () if name.eq_ignore_ascii_case("content-type") => &mut media_type,
            () if name.eq_ignore_ascii_case("content-transfer-encoding") => &mut encoding,
            () => continue,
        };
        if slot.replace(value.trim_matches([' ', '\t'])).is_some() {
            return Err("repeated header of a part");
        }
    }
    if encoding.is_some_and(|encoding| !["7bit", "8bit", "binary"].iter().any(|plain| encoding.eq_ignore_ascii_case(plain))) {
        return Err("unsupported content-transfer-encoding of a part");
    }
    let disposition = disposition.ok_or("part without content-disposition")?;
    let disposition = HeaderParameters::parse(disposition).ok_or("malformed content-disposition of a part")?;
    let is_form_data = disposition.value.eq_ignore_ascii_case("form-data") && !disposition.has_extended("name");
    let name = disposition.get("name").filter(|name| is_form_data && is_plain(name)).ok_or("part without a plain name")?;
    let is_file = disposition.get("filename").is_some() || disposition.has_extended("filename");
    Ok(PartHead { name, is_text: !is_file && media_type.is_none_or(is_text) })
}

/// Whether every parser reads this name alike: visible ASCII without the characters by which
/// browsers escape others.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'%'))
}

/// Whether a media type is that of a text in UTF-8.
fn is_text(media_type: &str) -> bool {
    HeaderParameters::parse(media_type).is_some_and(|parameters| {
        let is_utf8 = |charset: &str| charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("us-ascii");
        parameters.value.eq_ignore_ascii_case("text/plain") && parameters.get("charset").is_none_or(is_utf8)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_a_text_unless_it_has_a_file_name_or_another_type() {
        for (more, is_text) in [
            ("", true),
            ("; x=y", true),
            ("\r\nContent-Type: text/plain", true),
            ("\r\ncontent-type:TEXT/PLAIN; charset=\"UTF-8\"\r\ncontent-length: 5", true),
            ("\r\ncontent-transfer-encoding: BINARY", true),
            ("; filename=\"\"", false),
            ("; filename*=utf-8''a", false),
            ("\r\ncontent-type: text/plain; charset=utf-16", false),
            ("\r\ncontent-type: application/octet-stream", false),
            ("\r\ncontent-type: multipart/mixed; boundary=x", false),
        ] {
            let head = format!("Content-Disposition: form-data; name=\"image[]\"{more}");
            assert_eq!(read(head.as_bytes()), Ok(PartHead { name: "image[]", is_text }), "{more}");
        }
    }

    #[test]
    fn a_head_that_two_parsers_may_read_differently_is_refused() {
        let plain = "content-disposition: form-data; name=\"model\"";
        for head in [
            "",
            "content-type: text/plain",
            "content-disposition: attachment; name=\"model\"",
            "content-disposition: form-data",
            "content-disposition: form-data; name=\"\"",
            "content-disposition: form-data; name=\"mod%65l\"",
            "content-disposition: form-data; name=\"mo\\del\"",
            "content-disposition: form-data; name=\"model\u{e9}\"",
            "content-disposition: form-data; name=model; name*=utf-8''user",
            "content-disposition : form-data; name=\"model\"",
            " content-disposition: form-data; name=\"model\"",
            "content-disposition: form-data;\r\n name=\"model\"",
            "content-disposition: form-data; name=\"model\"\n",
            "content-disposition: form-data; x=\"\r\"; name=\"model\"",
            "content-disposition: form-data; x=\"\0\"; name=\"model\"",
            &format!("{plain}\r\n{plain}"),
            &format!("{plain}\r\n\r\n"),
            &format!("{plain}\r\ncontent-transfer-encoding: base64"),
            &format!("{plain}\r\ncontent-transfer-encoding: quoted-printable"),
            &format!("{plain}\r\nnonsense"),
        ] {
            assert!(read(head.as_bytes()).is_err(), "{head}");
        }
        assert!(read(b"content-disposition: form-data; name=\"model\xff\"").is_err());
    }
}
