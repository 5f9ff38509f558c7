//! Which states a document ever was in: the claims that led to it, newest last.
//!
//! Owns the one comparison by which metadata that went back is recognised (A7, A4). Epoch and version alone are no order:
//! a document that went back and was then claimed has a higher epoch than states that it never was in, and a root that
//! went back allots an epoch once more. A document therefore says who claimed it, in which epoch and at which version,
//! and a state that somebody has seen either lies between two of those claims, or on another branch.

use super::document::{Header, SessionId};
use crate::types::ControllerEpoch;

/// How many claims a document remembers. Of what is older only the version is compared.
pub const CLAIMS_MAX: usize = 32;

/// One state of a document, by the names that are never given twice on one branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seen {
    /// The term of the controller that wrote it.
    pub epoch: ControllerEpoch,
    /// Its number.
    pub version: u64,
    /// The process that was this controller.
    pub session: SessionId,
}

/// The first write of a controller to a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The controller's term.
    pub epoch: ControllerEpoch,
    /// The version that the claim made.
    pub version: u64,
    /// The controller's process.
    pub session: SessionId,
}

impl Header {
    /// The name of this state.
    pub fn seen(&self) -> Seen {
        Seen { epoch: self.epoch, version: self.version, session: self.write.session }
    }

    /// Whether the document is, or once was, in that state. If not, either the state is a later one, or one of the two
    /// was made from metadata that went back.
    pub fn descends_from(&self, seen: Seen) -> bool {
        if seen.version >= self.version {
            return seen == self.seen();
        }
        let claims = self.known_claims();
        let Some(at) = claims.iter().rposition(|claim| claim.epoch <= seen.epoch) else {
            return claims.first().map_or(seen.epoch <= self.epoch, |first| seen.version < first.version);
        };
        let (claim, next) = (claims[at], claims.get(at + 1));
        let same = claim.epoch == seen.epoch && claim.session == seen.session;
        same && claim.version <= seen.version && next.is_none_or(|next| seen.version < next.version)
    }

    /// The claims up to a write of `owner` in `epoch` that makes `version`.
    pub(super) fn claims_with(&self, epoch: ControllerEpoch, version: u64, session: SessionId) -> Vec<Claim> {
        let mut claims = self.known_claims().to_vec();
        if claims.last().is_none_or(|last| (last.epoch, last.session) != (epoch, session)) {
            claims.push(Claim { epoch, version, session });
        }
        let forgotten = claims.len().saturating_sub(CLAIMS_MAX);
        claims.drain(..forgotten);
        claims
    }

    /// The claims, unless a binary that does not know of them has written since: then nothing is known.
    fn known_claims(&self) -> &[Claim] {
        let last = self.claims.last();
        let own = last.is_some_and(|last| (last.epoch, last.session) == (self.epoch, self.write.session));
        if own { &self.claims } else { &[] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(number: u8) -> SessionId {
        SessionId([number; 16])
    }

    fn seen(epoch: i64, version: u64, owner: u8) -> Seen {
        Seen { epoch: ControllerEpoch::new(epoch), version, session: session(owner) }
    }

    /// What a write makes of a document.
    fn write(before: &Header, epoch: i64, owner: u8) -> Header {
        let (epoch, version) = (ControllerEpoch::new(epoch), before.version + 1);
        let mut next =
            Header { epoch, version, claims: before.claims_with(epoch, version, session(owner)), ..before.clone() };
        next.write.session = session(owner);
        next
    }

    /// Epoch and owner of each write, from the beginning on.
    fn line(writes: &[(i64, u8)]) -> Vec<Header> {
        let mut states = vec![Header::default()];
        for (epoch, owner) in writes {
            states.push(write(states.last().expect("the beginning"), *epoch, *owner));
        }
        states
    }

    #[test]
    fn a_document_descends_from_every_state_that_it_was_in_and_from_no_later_one() {
        let states = line(&[(1, 1), (1, 1), (3, 2), (4, 1), (4, 1), (4, 1), (9, 3)]);
        for (now, document) in states.iter().enumerate() {
            for (then, state) in states.iter().enumerate() {
                assert_eq!(document.descends_from(state.seen()), then <= now, "{then} of {now}");
            }
        }
    }

    #[test]
    fn a_branch_that_was_left_is_not_forgotten_by_later_claims() {
        let lost = line(&[(1, 1), (1, 1), (1, 1), (2, 2), (2, 2)]);
        // It went back to its second state, and was claimed again and again.
        let mut branch = write(&lost[2], 2, 3);
        for (epoch, owner) in [(3, 1), (4, 2), (4, 2), (4, 2), (7, 5)] {
            branch = write(&branch, epoch, owner);
        }
        for (at, state) in lost.iter().enumerate() {
            assert_eq!(branch.descends_from(state.seen()), at <= 2, "state {at}");
        }
        // The same epoch, allotted once more by a root that went back.
        assert!(branch.descends_from(seen(2, 3, 3)));
        assert!(!branch.descends_from(seen(2, 3, 2)));
        assert!(!branch.descends_from(seen(5, 6, 2)), "nobody claimed it in that epoch");
    }

    #[test]
    fn of_what_is_older_than_what_is_remembered_the_version_is_compared() {
        let mut document = line(&[(1, 1), (1, 1)]).remove(2);
        for epoch in 2..60 {
            document = write(&document, epoch, 1);
        }
        assert_eq!(document.claims.len(), CLAIMS_MAX);
        assert!(document.descends_from(seen(1, 2, 1)));
        assert!(document.descends_from(seen(1, 3, 9)), "nobody can tell");
        assert!(!document.descends_from(seen(1, 50, 1)));
        assert!(document.descends_from(seen(59, document.version, 1)));
    }

    #[test]
    fn a_binary_that_knows_of_no_claims_makes_them_count_for_nothing() {
        let mut document = line(&[(1, 1), (2, 2)]).remove(2);
        (document.epoch, document.version, document.write.session) = (ControllerEpoch::new(5), 9, session(7));
        assert!(document.descends_from(seen(3, 8, 4)));
        assert!(!document.descends_from(seen(5, 10, 7)));
        let next = write(&document, 6, 8);
        assert_eq!(next.claims.len(), 1);
        assert!(next.descends_from(document.seen()) && next.descends_from(seen(2, 2, 2)));
        assert!(!next.descends_from(seen(5, 10, 7)));
    }
}
