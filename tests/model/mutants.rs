//! Rules that are broken on purpose (M5): a model that does not notice is too weak.

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
    /// N3: an order of an operation that has gone on is carried out late.
    LateOrders,
    /// F4: connections of the former epoch live on.
    GatewayKeepsConnections,
    /// C2: a primary of a pair is started without the standby's name.
    StartsWithoutNames,
    /// X1: a commit that waits can be cancelled.
    CancelForwarded,
}

impl Mutant {
    pub const ALL: [Mutant; 12] = [
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
    ];
}
