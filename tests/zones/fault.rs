//! Faults of the list in `reliability.md` c.1 that this kernel can make, each with its number there; `strike` makes them.

use Expected::{Either, Failover, Same};

/// Something that breaks, until the world is whole again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    KillPostmaster,
    KillBackend,
    KillPrimary,
    StopPrimary,
    RemovePrimary,
    PausePrimaryShortly,
    PausePrimary,
    PauseStandby,
    KillStandby,
    KillEngine,
    HangEngine,
    LoseZone,
    LoseStandbyZone,
    CutMembers,
    CutPrimaryFromPortal,
    CutStandbyFromPortal,
    IsolatePrimary,
    IsolateStandby,
    CutOneWay,
    LoseSomePackets,
    LoseManyPackets,
    NarrowLink,
    FillPrimary,
    FillStandby,
    PromoteFull,
    FreezePrimaryDisk,
    LosePrimaryVolume,
    LoseStandbyVolume,
    Switchover,
    InvalidateSlot,
    ExhaustMemory,
    KillInRestart,
    KillWhileBuilding,
    KillBoth,
    LoseBothStandbyReturns,
    LoseBothPrimaryReturns,
    LoseAnswers,
    Reboot,
}

/// What the pair must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The standby takes over, once.
    Failover,
    /// The primary stays.
    Same,
    /// Both are right, and which comes first depends on the machine; the comment says why.
    Either,
}

impl Fault {
    pub const ALL: [Fault; 38] = [
        Fault::KillPostmaster,
        Fault::KillBackend,
        Fault::KillPrimary,
        Fault::StopPrimary,
        Fault::RemovePrimary,
        Fault::PausePrimaryShortly,
        Fault::PausePrimary,
        Fault::PauseStandby,
        Fault::KillStandby,
        Fault::KillEngine,
        Fault::HangEngine,
        Fault::LoseZone,
        Fault::LoseStandbyZone,
        Fault::CutMembers,
        Fault::CutPrimaryFromPortal,
        Fault::CutStandbyFromPortal,
        Fault::IsolatePrimary,
        Fault::IsolateStandby,
        Fault::CutOneWay,
        Fault::LoseSomePackets,
        Fault::LoseManyPackets,
        Fault::NarrowLink,
        Fault::FillPrimary,
        Fault::FillStandby,
        Fault::PromoteFull,
        Fault::FreezePrimaryDisk,
        Fault::LosePrimaryVolume,
        Fault::LoseStandbyVolume,
        Fault::Switchover,
        Fault::InvalidateSlot,
        Fault::ExhaustMemory,
        Fault::KillInRestart,
        Fault::KillWhileBuilding,
        Fault::KillBoth,
        Fault::LoseBothStandbyReturns,
        Fault::LoseBothPrimaryReturns,
        Fault::LoseAnswers,
        Fault::Reboot,
    ];

    /// Numbers in the list, then words.
    pub fn name(self) -> &'static str {
        self.facts().0
    }

    pub fn expected(self) -> Expected {
        self.facts().1
    }

    /// Whether it is the fault of a number, such as `12` of "12, 21 members cut off".
    pub fn has_number(self, number: &str) -> bool {
        let words = self.name().split_whitespace();
        let mut numbers = words
            .map(|word| word.trim_end_matches(','))
            .take_while(|word| word.parse::<u8>().is_ok());
        numbers.any(|one| one == number)
    }

    fn facts(self) -> (&'static str, Expected) {
        match self {
            // The postmaster is the container's only work: the engine says at once that it ended (F2).
            Fault::KillPostmaster => ("1 postmaster of the primary killed", Failover),
            // PostgreSQL starts anew by itself. When that takes three looks the standby is quicker.
            Fault::KillBackend => ("2 one session's process killed", Either),
            Fault::KillPrimary => ("3 container of the primary killed", Failover),
            Fault::StopPrimary => ("4 container of the primary stopped", Failover),
            Fault::RemovePrimary => ("5 container of the primary removed", Failover),
            Fault::PausePrimaryShortly => ("6 primary frozen for 5 s", Same),
            Fault::PausePrimary => ("6 primary frozen for 30 s", Failover),
            Fault::PauseStandby => ("7 standby frozen for 15 s", Same),
            Fault::KillStandby => ("8 container of the standby killed", Same),
            // It stays while its engine is gone. An engine that starts again stops what it finds running.
            Fault::KillEngine => ("9 engine of the primary killed, started later", Either),
            Fault::HangEngine => ("10 engine of the primary hangs", Same),
            Fault::LoseZone => ("11 zone of the primary lost", Failover),
            Fault::LoseStandbyZone => ("11 zone of the standby lost", Same),
            Fault::CutMembers => ("12, 21 link between members swallows everything", Same),
            Fault::CutPrimaryFromPortal => ("13 primary cut off from the portal", Failover),
            Fault::CutStandbyFromPortal => ("14 standby cut off from the portal", Same),
            Fault::IsolatePrimary => ("15 zone of the primary cut off", Failover),
            Fault::IsolateStandby => ("16 zone of the standby cut off", Same),
            Fault::CutOneWay => ("17 nothing comes from the standby to the primary", Same),
            Fault::LoseSomePackets => ("18 every tenth packet to the primary lost", Same),
            // Three looks in a row may fail; that it is once only is what counts.
            Fault::LoseManyPackets => ("18 three of ten packets to the primary lost", Either),
            Fault::NarrowLink => ("20 the standby's cable carries 1 Mbit/s", Same),
            Fault::FillPrimary => ("27 storage of the primary nearly full", Same),
            Fault::FillStandby => ("28 storage of the standby full", Same),
            // A standby may end when it is full; then the primary is started again.
            Fault::PromoteFull => ("28 primary killed while its standby is full", Either),
            Fault::FreezePrimaryDisk => ("30 disk of the primary hangs for 30 s", Failover),
            Fault::LosePrimaryVolume => {
                ("36 container and volume of the primary removed", Failover)
            }
            Fault::LoseStandbyVolume => ("36 container and volume of the standby removed", Same),
            Fault::Switchover => ("38 planned switchover under load", Failover),
            Fault::InvalidateSlot => ("41 slot of the standby invalidated", Same),
            // As 2.
            Fault::ExhaustMemory => ("43 a session of the primary killed for memory", Either),
            // Which member the restart is at when it happens is chance.
            Fault::KillInRestart => ("44 primary killed while it is being restarted", Either),
            Fault::KillWhileBuilding => ("44 primary killed while its standby is made", Same),
            // By chance the standby answers its last look a moment longer.
            Fault::KillBoth => ("46 both containers killed", Either),
            Fault::LoseBothStandbyReturns => {
                ("46 both zones lost, the standby's returns", Failover)
            }
            Fault::LoseBothPrimaryReturns => ("46 both zones lost, the primary's returns", Same),
            Fault::LoseAnswers => ("52 engine's answers lost while a standby is made", Same),
            // The host that is asked first after both are there decides.
            Fault::Reboot => ("54 hosts of both members rebooted", Either),
        }
    }
}
