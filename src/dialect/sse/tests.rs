use proptest::prelude::*;

use super::*;

/// Name, data and raw bytes of an event.
type EventParts = (Vec<u8>, Option<Vec<u8>>, Vec<u8>);

/// Returns the events of these pieces; the last one may be unfinished.
fn read(pieces: &[&[u8]], limits: SseLimits) -> Result<Vec<EventParts>, TooLarge> {
    let mut scanner = Scanner::new(limits);
    let mut events = Vec::new();
    let mut keep = |event: Event| events.push((event.name().to_vec(), event.data().map(<[u8]>::to_vec), event.raw.to_vec()));
    for piece in pieces {
        scanner.push(Bytes::copy_from_slice(piece));
        while let Some(event) = scanner.next_event()? {
            keep(event);
        }
    }
    if let Some(event) = scanner.finish()? {
        keep(event);
    }
    Ok(events)
}

fn data(stream: &str) -> Vec<String> {
    let events = read(&[stream.as_bytes()], SseLimits::default()).unwrap();
    events.into_iter().filter_map(|(_, data, _)| data).map(|data| String::from_utf8(data).unwrap()).collect()
}

#[test]
fn lines_end_in_lf_crlf_or_cr() {
    for end in ["\n", "\r\n", "\r"] {
        let stream = format!("data: a{end}{end}data: b{end}data: c{end}{end}");
        assert_eq!(data(&stream), ["a", "b\nc"], "{end:?}");
    }
}

#[test]
fn one_space_after_the_colon_is_not_part_of_the_value() {
    assert_eq!(data("data:  two\n\ndata:none\n\ndata\n\ndata:\n\n"), [" two", "none", "", ""]);
}

#[test]
fn comments_and_other_fields_are_not_data() {
    assert_eq!(data(": ping\n\nid: 1\nretry: 5\ndata: x\ndatum: y\n data: z\n\n:data: no\n\n"), ["x"]);
}

#[test]
fn a_byte_order_mark_is_skipped_at_the_start_only() {
    assert_eq!(data("\u{feff}data: a\n\n\u{feff}data: b\n\ndata: c\n\n"), ["a", "c"]);
    assert_eq!(data("\u{feff}\ndata: a\n\n"), ["a"]);
}

#[test]
fn the_last_event_name_of_an_event_counts_and_does_not_outlive_it() {
    let events = read(&[b"event: a\nevent: b\ndata: 1\n\ndata: 2\n\n"], SseLimits::default()).unwrap();
    assert_eq!(events.iter().map(|(name, ..)| name.as_slice()).collect::<Vec<_>>(), [b"b".as_slice(), b""]);
}

#[test]
fn a_pending_event_is_returned_at_the_end() {
    assert_eq!(data("data: a\n\ndata: b\ndata: c"), ["a", "b\nc"]);
    assert_eq!(data("data: a\r\n\r"), ["a"]);
    assert_eq!(read(&[], SseLimits::default()), Ok(vec![]));
}

#[test]
fn an_event_in_one_piece_is_a_slice_of_it() {
    let piece = Bytes::from_static(b"data: a\n\ndata: b\n\ndata: c");
    let mut scanner = Scanner::new(SseLimits::default());
    scanner.push(piece.clone());
    for start in [0, 9] {
        let event = scanner.next_event().unwrap().unwrap();
        assert_eq!(event.raw.as_ptr(), piece[start..].as_ptr());
        assert!(!event.straddles);
        assert_eq!(scanner.position(), start + 9);
    }
    assert!(scanner.next_event().unwrap().is_none());
    let next = Bytes::from_static(b"c\n\ndata: d\n\n");
    scanner.push(next.clone());
    let straddling = scanner.next_event().unwrap().unwrap();
    assert_eq!((straddling.raw.as_ref(), straddling.straddles, scanner.position()), (b"data: cc\n\n".as_slice(), true, 3));
    assert_eq!(scanner.next_event().unwrap().unwrap().raw.as_ptr(), next[3..].as_ptr());
}

#[test]
fn an_event_is_given_as_soon_as_its_blank_line_is_there() {
    for stream in ["data: a\n\n", "data: a\r\n\r\n", "data: a\r\r"] {
        let mut scanner = Scanner::new(SseLimits::default());
        scanner.push(Bytes::from(stream));
        assert_eq!(scanner.next_event().unwrap().unwrap().data(), Some(b"a".as_slice()), "{stream:?}");
    }
}

#[test]
fn a_line_or_event_over_its_limit_is_refused_complete_or_not() {
    let limits = SseLimits { line: 10, event: 30 };
    for stream in ["data: 12345\n\n", "data: 12345", ": 123456789"] {
        for size in 1..=stream.len() {
            let pieces: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
            assert_eq!(read(&pieces, limits), Err(TooLarge { what: "line", limit: 10 }), "{stream:?} by {size}");
        }
    }
    let long = "data: 1\n".repeat(4);
    assert_eq!(read(&[long.as_bytes()], limits), Err(TooLarge { what: "event", limit: 30 }));
    assert_eq!(data("data: 1234\n\n"), ["1234"]);
    assert!(read(&[b"data: 1234\n\n"], limits).is_ok());
}

#[test]
fn a_long_line_in_many_pieces_is_searched_once() {
    let line = format!("data: {}\n\n", "x".repeat(4 << 20));
    let pieces: Vec<&[u8]> = line.as_bytes().chunks(64).collect();
    assert_eq!(read(&pieces, SseLimits::default()).unwrap().len(), 1);
}

/// Generates streams of the bytes that matter to the scanner.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "\r\n\r\n",
        "data:",
        "data: ",
        "event: ",
        ":",
        " ",
        "x",
        "data: {\"a\":1}",
        "\u{feff}",
        "é",
    ]);
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat().into_bytes())
}

proptest! {
    #[test]
    fn no_split_of_a_stream_changes_its_events(stream in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let whole = read(&[&stream], SseLimits::default()).unwrap();
        let raw: Vec<u8> = whole.iter().flat_map(|(_, _, raw)| raw.clone()).collect();
        prop_assert_eq!(&raw, &stream, "the raw bytes of all events are the stream");
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).chain([0, stream.len()]).collect();
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        prop_assert_eq!(&read(&pieces, SseLimits::default()).unwrap(), &whole);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(&read(&bytes, SseLimits::default()).unwrap(), &whole);
    }

    #[test]
    fn limits_hold_whatever_the_split(stream in stream(), size in 1..9_usize) {
        let limits = SseLimits { line: 12, event: 24 };
        let pieces: Vec<&[u8]> = stream.chunks(size).collect();
        prop_assert_eq!(read(&pieces, limits).is_ok(), read(&[&stream], limits).is_ok());
    }
}
