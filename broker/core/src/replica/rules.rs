//! The rules of replication, each a value that a simulation can switch off.
//!
//! Owns the list. In a broker every rule holds: [`Rules::without`] exists only for tests and simulations, which break one
//! rule at a time and have to notice.

/// One rule, named by what it keeps from happening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Ends that are acknowledged or counted are durable (R11, S1).
    EndsAreDurable,
    /// The high watermark waits for every in-sync replica (R4).
    EveryInSyncReplicaCounts,
    /// A replica that may have joined the ISR counts already (R4).
    PendingMembersCount,
    /// A change that may still be committed is not forgotten because one copy of it was refused (R4).
    PendingUntilSettled,
    /// Below min.insync.replicas the high watermark stands still (R4).
    MinInSync,
    /// An end counts only once it is proven identical to the leader's log (R4).
    ProvenEnds,
    /// Logs are compared by epochs, not by their ends (R8).
    DivergenceByEpoch,
    /// Completions of older sessions report nothing (R11).
    SessionOfAck,
    /// An assignment that is older than the known one changes nothing (R6).
    NewestAssignment,
    /// A session opens once the journal has drained (R11).
    DrainBeforeOpen,
    /// Who joins stands at or past the start of the epoch (R5).
    EpochStartBeforeJoin,
    /// Who joins is the run of the broker that acknowledged (R5).
    IncarnationOfJoin,
    /// An epoch belongs to one run of its leader (A5).
    IncarnationOfLeader,
    /// After a failed write no offset is assigned in this epoch (R7).
    StopAfterFailedWrite,
    /// An unconfirmed leader serves nothing that another leader could contradict (R13).
    Confirmation,
    /// Only all other members together stand in for the controller (R13).
    EveryMemberConfirms,
    /// Messages of a session are for one run of the follower (R6).
    RunOfReceiver,
    /// Where the leader's log begins proves nothing about what lies before (R4).
    ProvenAboveLogStart,
    /// A replica that was away hears of an unclean election later (R8).
    UncleanRemembered,
    /// Where a follower's log begins is not above what is committed since the last unclean election (R1, R10).
    RemovedWasCommitted,
    /// A suspect log takes no part (R12).
    SuspectTakesNoPart,
    /// A suspect log is dropped only by metadata that knows this run (R12).
    HeardInThisRun,
    /// What was appended before is known to every leader (T1). Kept by the shell, from the log.
    SequencesFromLog,
    /// A log that starts over begins with the producers of what it lacks (T1). Kept by the shell, from the leader's log.
    ProducersComeAlong,
    /// What the leader has removed goes everywhere (R14).
    RemovalsFollow,
    /// A watermark that may lag behind what was shown before is not shown (R10).
    WatermarkAfterElection,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 26] = [
        Self::EndsAreDurable,
        Self::EveryInSyncReplicaCounts,
        Self::PendingMembersCount,
        Self::PendingUntilSettled,
        Self::MinInSync,
        Self::ProvenEnds,
        Self::DivergenceByEpoch,
        Self::SessionOfAck,
        Self::NewestAssignment,
        Self::DrainBeforeOpen,
        Self::EpochStartBeforeJoin,
        Self::IncarnationOfJoin,
        Self::IncarnationOfLeader,
        Self::StopAfterFailedWrite,
        Self::Confirmation,
        Self::EveryMemberConfirms,
        Self::RunOfReceiver,
        Self::ProvenAboveLogStart,
        Self::UncleanRemembered,
        Self::RemovedWasCommitted,
        Self::SuspectTakesNoPart,
        Self::HeardInThisRun,
        Self::SequencesFromLog,
        Self::ProducersComeAlong,
        Self::RemovalsFollow,
        Self::WatermarkAfterElection,
    ];
}

/// Which rules hold: all of them, outside of simulations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    without: Option<Rule>,
}

impl Rules {
    /// Every rule holds.
    pub const ALL: Self = Self { without: None };

    /// Every rule but one holds.
    #[cfg(any(test, feature = "sim"))]
    #[must_use]
    pub const fn without(rule: Rule) -> Self {
        Self { without: Some(rule) }
    }

    /// Whether `rule` holds.
    pub fn hold(self, rule: Rule) -> bool {
        self.without != Some(rule)
    }
}
