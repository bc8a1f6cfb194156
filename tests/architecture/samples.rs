//! Small crates that break one rule each, so that every rule is known to fail.

use super::rules::{House, Room, violations};
use super::tree::Sources;

/// Two rooms, of which the upper may import the lower.
const TWO_ROOMS: House = House {
    rooms: &[
        Room { name: "low", may_use: &[], never_names: &["tokio"] },
        Room { name: "high", may_use: &["low"], never_names: &["tokio"] },
    ],
    max_lines: 20,
    max_median_lines: 10,
};

/// A crate of two rooms without violations, and then `files`.
fn sources(files: &[(&str, &str)]) -> Sources {
    let valid = [
        ("lib.rs", "pub mod high;\npub mod low;\n"),
        ("low.rs", "pub struct Low;\n"),
        ("high.rs", "use crate::low::Low;\npub struct High(Low);\n"),
    ];
    valid.iter().chain(files).map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect()
}

/// Returns the violations of a valid crate in which `files` are added or replaced.
fn found(files: &[(&str, &str)]) -> String {
    violations(&TWO_ROOMS, &sources(files)).join("\n")
}

#[track_caller]
fn assert_found(files: &[(&str, &str)], expected: &str) {
    let found = found(files);
    assert!(found.contains(expected), "{expected:?} is not in {found:?} of {files:?}");
}

const UPWARDS: &str = "imports crate::high::High, a room on a higher floor";

#[test]
fn a_valid_crate_has_no_violations() {
    assert_eq!(found(&[]), "");
}

#[test]
fn code_after_a_test_module_is_read() {
    let text = "#[cfg(test)]\nmod tests {\n    use crate::high::High;\n}\npub struct Low;\nfn f(_: crate::high::High) {}\n";
    assert_found(&[("low.rs", text)], &format!("src/low.rs:6: {UPWARDS}"));
}

#[test]
fn tests_may_import_what_they_need() {
    let inline =
        "pub struct Low;\n#[cfg(test)]\nmod tests { use crate::high::High; use tokio::net; }\n#[test]\nfn t() { crate::high::f() }\n";
    assert_eq!(found(&[("low.rs", inline)]), "");
    let file = [("low.rs", "pub struct Low;\n#[cfg(test)]\nmod tests;\n"), ("low/tests.rs", "use crate::high::High;\nstruct High;\n")];
    assert_eq!(found(&file), "");
    assert_found(&[("low.rs", "#[cfg(any(test, feature = \"x\"))]\nuse crate::high::High;\npub struct Low;\n")], UPWARDS);
    assert_found(&[("low.rs", "#[cfg(not(test))]\nuse crate::high::High;\npub struct Low;\n")], UPWARDS);
}

#[test]
fn every_spelling_of_an_import_is_an_import() {
    for text in [
        "use crate::{high::{self, High}};",
        "use crate::{low::{Low}, high::{a::{b}, High}};",
        "use crate::high::High as Other;",
        "use super::high::High;",
        "use self::super::high::High;",
        "use crate as here; fn f(_: here::high::High) {}",
        "fn f() -> crate::high::High { todo() }",
        "fn f() { println!(\"{}\", crate::high::High) }",
        "macro_rules! m { () => { $crate::high::High } }",
        "fn f() { { use crate::high::High; } }",
        "#[derive(D)] struct S { #[serde(with = \"crate::high::High\")] x: u8 }",
        "mod inner { fn f(_: super::super::high::High) {} }",
    ] {
        assert_found(&[("low.rs", &format!("pub struct Low;\n{text}\n"))], "a room on a higher floor");
    }
}

#[test]
fn an_import_without_permission_fails() {
    const NO_PERMISSION: House = House {
        rooms: &[Room { name: "low", may_use: &[], never_names: &[] }, Room { name: "high", may_use: &[], never_names: &[] }],
        ..TWO_ROOMS
    };
    let found = violations(&NO_PERMISSION, &sources(&[])).join("\n");
    assert!(found.contains("src/high.rs:1: imports crate::low::Low, which `high` has no permission for"), "{found}");
}

#[test]
fn an_unused_permission_fails() {
    assert_found(&[("high.rs", "pub struct High;\n")], "`high` may use low and does not; remove the permission");
}

#[test]
fn a_forbidden_crate_fails() {
    assert_found(&[("low.rs", "use tokio::net;\npub struct Low;\n")], "src/low.rs:1: names tokio, which `low` may never do");
    assert_found(&[("low.rs", "pub struct Low;\nfn f() { vec![tokio::net::f()]; }\n")], "src/low.rs:2: names tokio");
}

#[test]
fn files_that_import_each_other_fail() {
    let circle = [
        ("low.rs", "mod a;\nmod b;\npub struct Low;\n"),
        ("low/a.rs", "use super::b::B;\npub struct A(B);\n"),
        ("low/b.rs", "use crate::low::a::A;\npub struct B(A);\n"),
    ];
    assert_found(&circle, "src/low/a.rs: 2 files import each other");
    let parent = [("low.rs", "mod a;\npub use a::A;\npub struct Low;\n"), ("low/a.rs", "use super::Low;\npub struct A(Low);\n")];
    assert_found(&parent, "src/low.rs: 2 files import each other");
    let declared = [("low.rs", "pub mod a;\npub struct Low;\n"), ("low/a.rs", "use super::Low;\npub struct A(Low);\n")];
    assert_eq!(found(&declared), "");
}

#[test]
fn a_room_without_a_row_and_a_row_without_a_room_fail() {
    let files = [("lib.rs", "pub mod high;\npub mod low;\npub mod new;\n"), ("new.rs", "pub struct New;\n")];
    assert_found(&files, "src/new.rs: has no row in the table of rooms");
    let mut without = sources(&[("lib.rs", "pub mod low;\n")]);
    without.remove("high.rs");
    assert!(violations(&TWO_ROOMS, &without).concat().contains("src/high.rs: does not exist; remove its row"));
}

#[test]
fn a_file_that_no_module_declares_fails() {
    assert_found(&[("low/lost.rs", "use crate::high::High;\n")], "src/low/lost.rs: no `mod` declaration leads here");
}

#[test]
fn long_files_fail() {
    let long = format!("pub struct Low;\n{}", "fn f() {}\n".repeat(20));
    assert_found(&[("low.rs", &long)], "src/low.rs: 21 lines without tests, more than 20");
    let tested = format!("pub struct Low;\n#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(20));
    assert_eq!(found(&[("low.rs", &tested)]), "");
    let longish = "fn f() {}\n".repeat(11);
    let (low, high) = (format!("pub struct Low;\n{longish}"), format!("use crate::low::Low;\npub struct High(Low);\n{longish}"));
    assert_found(&[("low.rs", &low), ("high.rs", &high)], "src: median file has 12 lines without tests, more than 10");
}

#[test]
fn a_repeated_type_name_fails() {
    for kind in ["pub struct Low;", "enum Low {}", "trait Low {}", "type Low = u8;", "mod inner { struct Low; }"] {
        let text = format!("use crate::low::f;\npub struct High;\n{kind}\n");
        assert_found(&[("high.rs", &text)], "type `Low` is defined again; name each for what it alone is");
    }
}

#[test]
fn a_name_that_says_nothing_fails() {
    let files = [("low.rs", "mod utils;\npub struct Low;\n"), ("low/utils.rs", "pub fn f() {}\n")];
    assert_found(&files, "src/low/utils.rs: its name says nothing");
}

#[test]
fn only_control_names_the_store_and_the_master_key() {
    assert_found(&[("low.rs", "use diesel::prelude::*;\npub struct Low;\n")], "src/low.rs:1: names diesel; only `control`");
    assert_found(&[("low.rs", "pub struct Low;\nfn f(_: x::MasterKey) {}\n")], "src/low.rs:2: names MasterKey; only `control`");
}

#[test]
fn only_the_connector_makes_clients() {
    for text in ["fn f() { awc::Client::default() }", "use awc::Client;\nfn f() { Client::builder() }"] {
        assert_found(&[("low.rs", &format!("pub struct Low;\n{text}\n"))], "makes an HTTP client");
    }
}
