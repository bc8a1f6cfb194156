//! The offers for a tenant's request for a model, and their order (DESIGN.md section 6).
//!
//! Pure: health, cooldown and time are handled by the gateway.

use std::cmp::Ordering;

use super::caller::Tenant;
use super::offerings::Model;
use super::provider::Chain;

/// The brokered offers for `tenant` and `model`; empty if there are none.
pub fn providers_for(tenant: &Tenant, model: &Model) -> Chain {
    if !tenant.brokered {
        return Chain::from([]);
    }
    if model.is_open_to_all {
        return model.offers.clone();
    }
    model.offers.iter().filter(|offer| offer.provider.serves(&tenant.id)).cloned().collect()
}

/// Merges a tenant's own offers with the brokered ones it may use, in natural order of the provider
/// names; on a tie its own come first. Brokered offers join only if it has none of its own or has
/// set `broker_fallback`, so that the billed party never changes without consent. Both lists are in
/// natural order.
pub fn merge<T: Clone>(own: &[T], brokered: &[T], broker_fallback: bool, name: impl Fn(&T) -> &str) -> Vec<T> {
    if own.is_empty() {
        return brokered.to_vec();
    }
    let mut chain = own.to_vec();
    if broker_fallback {
        chain.extend_from_slice(brokered);
    }
    // A stable sort: own offers stand first, so they win a tie.
    chain.sort_by(|a, b| compare_runs(name(a), name(b)));
    chain
}

/// Compares names as people count: runs of digits by their value, so `2-backup` comes before
/// `10-last`. Names that differ only in leading zeros fall back to their bytes, so only equal names
/// are equal.
pub fn natural_order(a: &str, b: &str) -> Ordering {
    compare_runs(a, b).then_with(|| a.cmp(b))
}

/// Natural order in which `01` and `1` tie.
fn compare_runs(a: &str, b: &str) -> Ordering {
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

/// Compares two decimal numbers of any length.
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

    type Named = (&'static str, &'static str);

    fn merged(own: &[&'static str], brokered: &[&'static str], broker_fallback: bool) -> Vec<Named> {
        let mark = |names: &[&'static str], source| names.iter().map(|name| (*name, source)).collect::<Vec<Named>>();
        merge(&mark(own, "byo"), &mark(brokered, "brokered"), broker_fallback, |(name, _)| name)
    }

    #[test]
    fn without_its_own_providers_a_tenant_uses_the_brokered_ones() {
        assert_eq!(merged(&[], &["1-a", "2-b"], false), [("1-a", "brokered"), ("2-b", "brokered")]);
        assert_eq!(merged(&[], &["1-a"], true), [("1-a", "brokered")]);
    }

    #[test]
    fn a_bill_never_changes_hands_unasked() {
        assert_eq!(merged(&["9-mine"], &["1-a"], false), [("9-mine", "byo")]);
    }

    #[test]
    fn with_broker_fallback_both_follow_natural_order_and_a_tie_goes_to_byo() {
        let chain = merged(&["2-x", "10-z"], &["1-a", "02-x", "2-x", "11-b"], true);
        let expected =
            [("1-a", "brokered"), ("2-x", "byo"), ("02-x", "brokered"), ("2-x", "brokered"), ("10-z", "byo"), ("11-b", "brokered")];
        assert_eq!(chain, expected);
    }
}
