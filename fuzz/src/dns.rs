//! Targets for `postier_core::dns`.

use postier_core::dns::mta_sts::https::Response;
use postier_core::dns::mta_sts::{Kept, POLICY_BYTES_MAX, Policy};

use crate::assert_split_invariant;

/// The answer of a policy's web server, the policy in it or by itself, and both as they are kept.
pub fn dns_mta_sts(data: &[u8]) {
    let outcome = assert_split_invariant(data, |pieces| {
        let mut response = Response::default();
        pieces.iter().find_map(|piece| response.push(piece)).unwrap_or_else(|| response.end())
    });
    for octets in [Some(data), outcome.as_deref().ok()].into_iter().flatten() {
        assert!(outcome.as_ref().is_err() || octets.len() <= POLICY_BYTES_MAX || octets == data);
        let Some(policy) = Policy::parse(octets) else { continue };
        assert_eq!(Policy::parse(policy.to_text().as_bytes()).as_ref(), Some(&policy));
        let kept = Kept { id: "1".into(), fetched: -7, policy: policy.into() };
        assert_eq!(Kept::from_file(&kept.to_file()), Some(kept));
    }
    if let Some(kept) = Kept::from_file(data) {
        assert_eq!(Kept::from_file(&kept.to_file()), Some(kept));
    }
}
