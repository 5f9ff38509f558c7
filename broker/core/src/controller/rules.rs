//! The rules that guard safety, as values: a test that breaks one on purpose shows that somebody would notice.

/// Which rules are kept. In a broker all of them are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A disk that is not the one that its broker last ran on is out of everything before it is admitted (A9).
    pub foreign_disks_are_excluded: bool,
    /// A disk that ends before what it is known to have held is as suspect as a whole (A9).
    pub older_disks_are_suspect: bool,
    /// A process is not let in under the id of one that lives (A6).
    pub live_ids_are_refused: bool,
    /// Metadata that somebody has seen in a later state stops the controller (A7).
    pub rolled_back_metadata_stops: bool,
    /// A change of an in-sync set names the terms that it was made in (R6).
    pub stale_epochs_are_refused: bool,
    /// Only the current run of an admitted broker that stays joins an in-sync set (R5).
    pub joiners_are_current: bool,
    /// A reassignment lets go of a replica only when every target is in sync (L3).
    pub reassignment_waits_for_targets: bool,
    /// Changing `min.insync.replicas` clears the eligible replicas in the same write.
    pub new_minimum_clears_eligible: bool,
}

/// One of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the field of the same name")]
pub enum Rule {
    ForeignDisksAreExcluded,
    OlderDisksAreSuspect,
    LiveIdsAreRefused,
    RolledBackMetadataStops,
    StaleEpochsAreRefused,
    JoinersAreCurrent,
    ReassignmentWaitsForTargets,
    NewMinimumClearsEligible,
}

impl Rule {
    /// Every rule there is.
    pub const EVERY: [Self; 8] = [
        Self::ForeignDisksAreExcluded,
        Self::OlderDisksAreSuspect,
        Self::LiveIdsAreRefused,
        Self::RolledBackMetadataStops,
        Self::StaleEpochsAreRefused,
        Self::JoinersAreCurrent,
        Self::ReassignmentWaitsForTargets,
        Self::NewMinimumClearsEligible,
    ];
}

impl Rules {
    /// Every rule is kept.
    pub const ALL: Self = Self {
        foreign_disks_are_excluded: true,
        older_disks_are_suspect: true,
        live_ids_are_refused: true,
        rolled_back_metadata_stops: true,
        stale_epochs_are_refused: true,
        joiners_are_current: true,
        reassignment_waits_for_targets: true,
        new_minimum_clears_eligible: true,
    };

    /// Every rule but one. For simulations and tests only: such a controller loses records.
    #[must_use]
    pub fn without(rule: Rule) -> Self {
        let mut rules = Self::ALL;
        let broken = match rule {
            Rule::ForeignDisksAreExcluded => &mut rules.foreign_disks_are_excluded,
            Rule::OlderDisksAreSuspect => &mut rules.older_disks_are_suspect,
            Rule::LiveIdsAreRefused => &mut rules.live_ids_are_refused,
            Rule::RolledBackMetadataStops => &mut rules.rolled_back_metadata_stops,
            Rule::StaleEpochsAreRefused => &mut rules.stale_epochs_are_refused,
            Rule::JoinersAreCurrent => &mut rules.joiners_are_current,
            Rule::ReassignmentWaitsForTargets => &mut rules.reassignment_waits_for_targets,
            Rule::NewMinimumClearsEligible => &mut rules.new_minimum_clears_eligible,
        };
        *broken = false;
        rules
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::ALL
    }
}
