//! Forms as clients send them, and as nobody should.

use proptest::prelude::*;

use super::*;

const TYPE: &str = "multipart/form-data; boundary=b0";

fn parsed(body: impl AsRef<[u8]>) -> Result<Form, FormError> {
    Form::parse(TYPE, Bytes::copy_from_slice(body.as_ref()))
}

/// Writes a part with the line break after it.
fn part(name: &str, file_name: Option<&str>, content: &[u8]) -> Vec<u8> {
    let file_name = file_name.map(|name| format!("; filename=\"{name}\"")).unwrap_or_default();
    let head = format!("--b0\r\ncontent-disposition: form-data; name=\"{name}\"{file_name}\r\n\r\n");
    [head.as_bytes(), content, b"\r\n"].concat()
}

fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [&parts.concat()[..], b"--b0--\r\n"].concat()
}

#[test]
fn fields_are_read_wherever_they_stand() {
    let file = b"RIFF\r\n\r\n--b\r\n--\0\xff x--b0 y\r\n";
    let body = form(&[part("file", Some("a\\b.wav"), file), part("model", None, b"whisper-1"), part("note", None, b"")]);
    let form = parsed(&body).unwrap();
    assert_eq!((form.text("model"), form.text("note"), form.text("user")), (Some(Ok("whisper-1")), Some(Ok("")), None));
    assert_eq!(form.text("file"), Some(Err(FieldError::NotText)));
    assert_eq!(form.contents("file").collect::<Vec<_>>(), [file]);
    assert_eq!((form.content_type(), &form.bytes()[..]), (TYPE, &body[..]));
    assert!(parsed(b"--b0\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\nb\r\n--b0--").is_ok());
}

#[test]
fn a_field_is_replaced_and_all_else_stays() {
    let parts = |model: &[u8]| form(&[part("file", Some("x"), b"\0\r\n\xff"), part("model", None, model), part("z", None, b"z")]);
    let form = parsed(parts(b"public")).unwrap();
    for model in ["", "a", "openai/gpt-4o:free", "caf\u{e9}", "--b", " --b0--"] {
        assert_eq!(form.splice("model", model).unwrap(), parts(model.as_bytes()), "{model}");
    }
    assert_eq!(form.splice("model", "public").unwrap().as_ptr(), form.bytes().as_ptr());
    for model in ["a\r\nb", "a\nb", "\r", "--b0", "--b0--", "--b0x"] {
        assert_eq!(form.splice("model", model), Err(FieldError::Unspeakable), "{model}");
    }
    assert_eq!(form.splice("file", "a"), Err(FieldError::NotText));
    assert_eq!(form.splice("user", "a"), Err(FieldError::Missing));
}

#[test]
fn a_repeated_field_is_no_text() {
    for second in [part("model", None, b"b"), part("model", Some("x"), b"b")] {
        let form = parsed(form(&[part("model", None, b"a"), second])).unwrap();
        assert_eq!((form.text("model"), form.splice("model", "c")), (Some(Err(FieldError::Repeated)), Err(FieldError::Repeated)));
    }
}

#[test]
fn a_body_that_two_parsers_may_split_differently_is_refused() {
    let model = "content-disposition: form-data; name=\"model\"\r\n\r\n";
    for (body, what) in [
        (String::new(), "expected the boundary"),
        (format!("preamble\r\n--b0\r\n{model}a\r\n--b0--"), "expected the boundary"),
        (format!("\r\n--b0\r\n{model}a\r\n--b0--"), "expected the boundary"),
        ("--b0--".to_owned(), "boundary that is not on a line of its own"),
        (format!("--b0\n{model}a\r\n--b0--"), "boundary that is not on a line of its own"),
        (format!("--b0 \r\n{model}a\r\n--b0--"), "boundary that is not on a line of its own"),
        (format!("--b0\r\n{model}a\r\n--b0x\r\n--b0--"), "boundary that is not on a line of its own"),
        (format!("--b0\r\n{model}a\r\n--b0-\r\n--b0--"), "boundary that is not on a line of its own"),
        (format!("--b0\r\n{model}a\n--b0\r\n{model}b\r\n--b0--"), "bare line break before a boundary"),
        (format!("--b0\r\n{model}a\r--b0\r\n{model}b\r\n--b0--"), "bare line break before a boundary"),
        (format!("--b0\r\n{model}a"), "missing final boundary"),
        (format!("--b0\r\n{model}a\r\n"), "missing final boundary"),
        (format!("--b0\r\n{model}a\r\n--b0"), "boundary that is not on a line of its own"),
        (format!("--b0\r\n{model}a\r\n--b0--\r\n--b0\r\n{model}b\r\n--b0--"), "data after the last boundary"),
        (format!("--b0\r\n{model}a\r\n--b0--epilogue"), "data after the last boundary"),
        (format!("--b0\r\n{model}--b0\r\n{model}b\r\n--b0--"), "missing or too large head of a part"),
        ("--b0\r\n\r\n--b0--".to_owned(), "missing or too large head of a part"),
        ("--b0\r\n--b0--".to_owned(), "bare line break before a boundary"),
        ("--b0\r\n\r\n\r\na\r\n--b0--".to_owned(), "malformed header line of a part"),
        (format!("--b0\r\nx: {}\r\n{model}a\r\n--b0--", "y".repeat(9000)), "missing or too large head of a part"),
    ] {
        assert_eq!(parsed(&body).map_err(|error| error.what), Err(what), "{body}");
    }
    assert_eq!(parsed(form(&vec![part("a", None, b""); 65])).map_err(|error| error.what), Err("too many parts"));
    assert!(parsed(form(&vec![part("a", None, b""); 64])).is_ok());
}

/// A lenient parser: a delimiter counts after any line break and with anything behind it, and ends a
/// line of its own or the form.
fn lenient(body: &[u8], delimiter: &[u8]) -> Vec<Vec<u8>> {
    let mut starts = Vec::new();
    for at in memchr::memmem::find_iter(body, delimiter) {
        if at == 0 || matches!(body[at - 1], b'\r' | b'\n') {
            starts.push(at);
        }
    }
    let contents = starts.windows(2).filter_map(|pair| {
        let part = &body[pair[0] + delimiter.len()..pair[1]];
        let head = memchr::memmem::find(part, b"\r\n\r\n")?;
        let content = &part[head + 4..];
        let content = content.strip_suffix(b"\n").unwrap_or(content);
        Some(content.strip_suffix(b"\r").unwrap_or(content).to_vec())
    });
    contents.collect()
}

/// Bytes that matter to a parser, and some that do not.
fn snippet() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "--b0",
        "--b0--",
        "--",
        "\r\n",
        "\r\n",
        "\n",
        "\r",
        "\r\n\r\n",
        "\r\n--b0\r\n",
        "Content-Disposition: form-data; name=\"model\"",
        "content-disposition: form-data; name=\"model\"\r\n\r\n",
        "content-disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n",
        "b0",
        "a",
        " ",
        "\t",
        "\"",
        ";",
        ":",
    ])
}

proptest! {
    #[test]
    fn any_form_is_read_as_it_was_written(
        parts in prop::collection::vec(("[a-z_\\[\\]]{1,12}", any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 1..8),
        boundary in "[0-9A-Za-z'()+_,./:=?-]{20,70}",
        model in "[!-~\u{e9}]{0,20}",
    ) {
        let mut body = Vec::new();
        for (name, is_file, content) in &parts {
            let file = if *is_file { "; filename=\"f\"" } else { "" };
            body.extend_from_slice(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        let content_type = format!("multipart/form-data; boundary=\"{boundary}\"");
        let form = Form::parse(&content_type, body.into()).unwrap();
        prop_assert_eq!(form.parts.len(), parts.len());
        for (read, (name, is_file, content)) in form.parts.iter().zip(&parts) {
            prop_assert_eq!((&*read.name, read.is_text, &form.bytes[read.content.clone()]), (name.as_str(), !is_file, &content[..]));
        }
        let name = &parts[0].0;
        if let Ok(spliced) = form.splice(name, &model) {
            let again = Form::parse(&content_type, spliced).unwrap();
            prop_assert_eq!(again.text(name), Some(Ok(model.as_str())));
            prop_assert_eq!(again.parts.len(), parts.len());
            for (nth, part) in form.parts.iter().enumerate().skip(1) {
                prop_assert_eq!(&again.bytes[again.parts[nth].content.clone()], &form.bytes[part.content.clone()]);
            }
        }
    }

    #[test]
    fn a_form_that_passes_is_split_alike_by_a_lenient_parser(snippets in prop::collection::vec(snippet(), 0..24), is_framed in any::<bool>()) {
        let mut body = snippets.concat();
        if is_framed {
            body = format!("--b0\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{body}\r\n--b0--\r\n");
        }
        if let Ok(form) = parsed(&body) {
            let contents: Vec<_> = form.parts.iter().map(|part| form.bytes[part.content.clone()].to_vec()).collect();
            prop_assert_eq!(lenient(body.as_bytes(), b"--b0"), contents);
        }
    }

    #[test]
    fn no_text_of_a_field_adds_or_ends_a_part(snippets in prop::collection::vec(snippet(), 0..8)) {
        let text = snippets.concat();
        let form = parsed(form(&[part("model", None, b"m"), part("user", None, b"u")])).unwrap();
        if let Ok(spliced) = form.splice("model", &text) {
            prop_assert_eq!(lenient(&spliced, b"--b0"), [text.as_bytes(), b"u"]);
            let again = parsed(&spliced).unwrap();
            prop_assert_eq!((again.text("model"), again.text("user")), (Some(Ok(text.as_str())), Some(Ok("u"))));
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), content_type in ".{0,60}") {
        let _ = Form::parse(&content_type, bytes.clone().into());
        let _ = parsed([b"--b0\r\n", &bytes[..], b"\r\n--b0--"].concat());
    }
}
