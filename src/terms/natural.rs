//! Natural order of names: `2-backup` before `10-last`. The order of providers is their priority.

use std::cmp::Ordering;

/// Compares names in natural order: runs of digits by their value, so `2-backup` sorts before `10-last`. Names that
/// differ only in leading zeros are compared by bytes, so only equal names compare as equal.
pub fn natural_order(a: &str, b: &str) -> Ordering {
    compare_runs(a, b).then_with(|| a.cmp(b))
}

/// Compares names in natural order without the tie-break: `01` and `1` compare as equal.
pub fn compare_runs(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let (Some(&left), Some(&right)) = (a.first(), b.first()) else {
            return a.len().cmp(&b.len());
        };
        let order = if left.is_ascii_digit() && right.is_ascii_digit() {
            compare_numbers(take_digits(&mut a), take_digits(&mut b))
        } else {
            (a, b) = (&a[1..], &b[1..]);
            left.cmp(&right)
        };
        if order.is_ne() {
            return order;
        }
    }
}

fn take_digits<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let (digits, after) = rest.split_at(rest.iter().take_while(|byte| byte.is_ascii_digit()).count());
    *rest = after;
    digits
}

/// Compares two decimal numbers of any length by value.
fn compare_numbers(a: &[u8], b: &[u8]) -> Ordering {
    let (a, b) = (without_leading_zeros(a), without_leading_zeros(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn without_leading_zeros(digits: &[u8]) -> &[u8] {
    &digits[digits.iter().take_while(|digit| **digit == b'0').count()..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Names that are likely to collide in parts.
    fn name() -> impl Strategy<Value = String> {
        "[a0-2/:-]{0,6}"
    }

    proptest! {
        #[test]
        fn natural_order_is_antisymmetric_and_agrees_with_equality(a in name(), b in name()) {
            prop_assert_eq!(natural_order(&a, &b), natural_order(&b, &a).reverse());
            prop_assert_eq!(natural_order(&a, &b).is_eq(), a == b);
        }

        #[test]
        fn natural_order_is_transitive(a in name(), b in name(), c in name()) {
            if natural_order(&a, &b).is_le() && natural_order(&b, &c).is_le() {
                prop_assert!(natural_order(&a, &c).is_le());
            }
        }

        #[test]
        fn numbers_of_any_length_compare_by_value(a in "[0-9]{1,40}", b in "[0-9]{1,40}") {
            let value = |text: &str| text.parse::<bigdecimal::BigDecimal>().unwrap();
            prop_assert_eq!(compare_runs(&a, &b), value(&a).cmp(&value(&b)));
        }
    }

    #[test]
    fn names_sort_as_people_count() {
        let mut names = ["10-last", "openai", "2-backup", "1-primary", "02-backup", "a10b2", "a2b10", "a2b9", ""];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(names, ["", "1-primary", "02-backup", "2-backup", "10-last", "a2b9", "a2b10", "a10b2", "openai"]);
    }
}
