//! The offers for a tenant's request for a model, and their order (DESIGN.md section 6).
//!
//! Pure: health, cooldown and time are handled by the gateway.

use super::caller::Tenant;
use super::offerings::Model;
use super::provider::Chain;
use crate::terms::natural::compare_runs;

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

#[cfg(test)]
mod tests {
    use super::*;

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
