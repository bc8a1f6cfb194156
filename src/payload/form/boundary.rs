//! The boundary of a form, from its content type.

use super::error::FormError;
use super::parameters::HeaderParameters;

/// Maximum length of a boundary (RFC 2046 5.1.1).
const MAX_BOUNDARY: usize = 70;

/// Returns the delimiter of the parts: `--` and the boundary.
///
/// # Errors
/// The content type is not that of a form, or has no valid boundary.
pub(super) fn delimiter(content_type: &str) -> Result<Box<[u8]>, FormError> {
    let error = |what| FormError { what, at: 0 };
    let parameters = HeaderParameters::parse(content_type).ok_or(error("malformed content-type"))?;
    if !parameters.value.eq_ignore_ascii_case("multipart/form-data") {
        return Err(error("content-type is not multipart/form-data"));
    }
    let boundary = parameters.get("boundary").filter(|_| !parameters.has_extended("boundary"));
    let boundary = boundary.filter(|boundary| is_boundary(boundary)).ok_or(error("missing or invalid boundary in content-type"))?;
    Ok([b"--", boundary.as_bytes()].concat().into())
}

/// Whether `text` is a boundary (RFC 2046 5.1.1).
fn is_boundary(text: &str) -> bool {
    let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    (1..=MAX_BOUNDARY).contains(&text.len()) && text.bytes().all(may_stand) && !text.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_is_read_quoted_or_not() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=x", "--x"),
            ("Multipart/Form-Data;BOUNDARY=\"a b\"", "--a b"),
            ("multipart/form-data; charset=utf-8; boundary=----=_Part_1:2", "------=_Part_1:2"),
        ] {
            assert_eq!(&*delimiter(content_type).unwrap(), expected.as_bytes(), "{content_type}");
        }
        let longest = format!("multipart/form-data; boundary={}", "b".repeat(70));
        assert!(delimiter(&longest).is_ok() && delimiter(&format!("{longest}b")).is_err());
    }

    #[test]
    fn a_missing_or_invalid_boundary_is_refused() {
        for content_type in [
            "",
            "multipart/form-data",
            "multipart/mixed; boundary=x",
            "application/json; boundary=x",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"\"",
            "multipart/form-data; boundary=\"x \"",
            "multipart/form-data; boundary=x; boundary=y",
            "multipart/form-data; boundary=x; boundary*=y",
            "multipart/form-data; boundary*0=x",
            "multipart/form-data; boundary=x\\y",
            "multipart/form-data; boundary=x y",
            "multipart/form-data; boundary=\"é\"",
            "multipart/form-data, multipart/form-data; boundary=x",
        ] {
            assert!(delimiter(content_type).is_err(), "{content_type}");
        }
    }
}
