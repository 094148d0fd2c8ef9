//! Rules that are broken on purpose (M5): a model that does not notice is too weak.
//!
//! | M5 of the reference | mutant here |
//! | --- | --- |
//! | 1 arm without A4 | [`Mutant::ArmWithoutBarrier`] |
//! | 2 D1 reversed | [`Mutant::DisarmReversed`] |
//! | 3 promote from cache (F1) | [`Mutant::PromoteFromCache`] |
//! | 4 no data fence (F6) | [`Mutant::NoDataFence`] |
//! | 5 no admission gate (C3) | [`Mutant::NoGate`] |
//! | 6 start primary on engine restart (N1) | [`Mutant::EngineRestarts`] |
//! | 7 rewind on equal timeline (W4) | [`Mutant::RewindOnEqualTimeline`] |
//! | 8 target chosen before stop (P4) | [`Mutant::TargetBeforeStop`] |
//! | 9 agent accepts older epoch (N3) | [`Mutant::LateOrders`]: there is no agent here, an order is a call of an engine; see there |
//! | 10 GW keeps old connections (F4) | [`Mutant::GatewayKeepsConnections`] |
//!
//! The others are ours: so that each invariant is broken by one, and for rules that M5 does not name.

use super::pair::Bounds;
use super::properties as p;

/// One broken rule. They are broken in the model's executor, never in the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// A4: the standby counts as soon as its name is written.
    ArmWithoutBarrier,
    /// D1: the names are emptied before the row says so.
    DisarmReversed,
    /// F1: the promotion goes by a row that was read before.
    PromoteFromCache,
    /// F6: the receiver goes on after the promotion.
    NoDataFence,
    /// C3: clients are let in as soon as the primary runs.
    NoGate,
    /// N1: an engine starts what it ran before.
    EngineRestarts,
    /// W4: a former primary is taken back as it lies there.
    RewindOnEqualTimeline,
    /// P4: who has what is compared before the primary has stopped.
    TargetBeforeStop,
    /// N3: an order of an operation that has lost its lease is obeyed: not only is its file written, which may happen,
    /// the primary also reads it. The product has every reading of a file follow its own writing by the row of now.
    LateOrders,
    /// F4: connections of the former epoch live on.
    GatewayKeepsConnections,
    /// C2: a primary of a pair is started without the standby's name, and nobody asks what is in force.
    StartsWithoutNames,
    /// X1: a commit that waits can be cancelled.
    CancelForwarded,
    /// F3: a change of primary keeps the number of the epoch.
    EpochStays,
    /// F8: a standby is made a primary without a timeline of its own.
    NoNewTimeline,
    /// N2: a start does not ask whether one runs on the volume, and nothing locks it.
    NoVolumeLock,
    /// D5: a standby that is lost is waited for, for ever.
    NeverDisarms,
    /// L2: a restart whose operation ended is carried on by nobody.
    NobodyResumes,
    /// Durability: what was chosen is on record before the standby's file says it (F9).
    RequiredRowFirst,
    /// Durability: the standby's file is relaxed before that is on record.
    RelaxedFileFirst,
    /// Durability: a standby is armed with the file that it was made with.
    ArmWithStaleFile,
}

impl Mutant {
    pub const ALL: [Mutant; 20] = [
        Mutant::ArmWithoutBarrier,
        Mutant::DisarmReversed,
        Mutant::PromoteFromCache,
        Mutant::NoDataFence,
        Mutant::NoGate,
        Mutant::EngineRestarts,
        Mutant::RewindOnEqualTimeline,
        Mutant::TargetBeforeStop,
        Mutant::LateOrders,
        Mutant::GatewayKeepsConnections,
        Mutant::StartsWithoutNames,
        Mutant::CancelForwarded,
        Mutant::EpochStays,
        Mutant::NoNewTimeline,
        Mutant::NoVolumeLock,
        Mutant::NeverDisarms,
        Mutant::NobodyResumes,
        Mutant::RequiredRowFirst,
        Mutant::RelaxedFileFirst,
        Mutant::ArmWithStaleFile,
    ];

    /// Its number in the list of M5; none for ours.
    pub fn number(self) -> Option<u8> {
        let at = Self::ALL.iter().position(|mutant| *mutant == self)?;
        u8::try_from(at + 1).ok().filter(|number| *number <= 10)
    }

    /// The rule that it breaks.
    pub fn rule(self) -> &'static str {
        match self {
            Mutant::ArmWithoutBarrier => "A4",
            Mutant::DisarmReversed => "D1",
            Mutant::PromoteFromCache => "F1",
            Mutant::NoDataFence => "F6",
            Mutant::NoGate => "C3",
            Mutant::EngineRestarts => "N1",
            Mutant::RewindOnEqualTimeline => "W4",
            Mutant::TargetBeforeStop => "P4",
            Mutant::LateOrders => "N3",
            Mutant::GatewayKeepsConnections => "F4",
            Mutant::StartsWithoutNames => "C2",
            Mutant::CancelForwarded => "X1",
            Mutant::EpochStays => "F3",
            Mutant::NoNewTimeline => "F8",
            Mutant::NoVolumeLock => "N2",
            Mutant::NeverDisarms => "D5",
            Mutant::NobodyResumes => "L2",
            Mutant::RequiredRowFirst | Mutant::RelaxedFileFirst | Mutant::ArmWithStaleFile => "F9",
        }
    }

    /// Where it is looked for.
    pub fn bounds(self) -> Bounds {
        match self {
            Mutant::LateOrders => super::ORDERS,
            Mutant::RequiredRowFirst | Mutant::RelaxedFileFirst | Mutant::ArmWithStaleFile => {
                Bounds { wishes: 1, ..super::CHOICES }
            }
            _ => super::FAULTS,
        }
    }

    /// What must be seen to break: the checker looks on until it has all of these.
    pub fn breaks(self) -> &'static [&'static str] {
        match self {
            Mutant::ArmWithoutBarrier | Mutant::DisarmReversed => &[p::I2, p::I3],
            Mutant::PromoteFromCache | Mutant::CancelForwarded => &[p::I3],
            Mutant::NoDataFence => &[p::I3, p::I5],
            Mutant::NoGate => &[p::I10],
            Mutant::EngineRestarts => &[p::I9],
            Mutant::RewindOnEqualTimeline | Mutant::LateOrders | Mutant::StartsWithoutNames => {
                &[p::I2]
            }
            Mutant::TargetBeforeStop => &[p::P4],
            Mutant::GatewayKeepsConnections => &[p::I4, p::I8],
            Mutant::EpochStays => &[p::I1],
            Mutant::NoNewTimeline => &[p::I7],
            Mutant::NoVolumeLock => &[p::I6],
            Mutant::NeverDisarms => &[p::L1],
            Mutant::NobodyResumes => &[p::L2],
            Mutant::RequiredRowFirst | Mutant::RelaxedFileFirst | Mutant::ArmWithStaleFile => {
                &[p::D5]
            }
        }
    }
}
