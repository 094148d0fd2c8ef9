//! The usual input of each kind, for sweeps: one arm for each.

use pgflex::domain::operation::OperationKind;
use serde_json::{Value, json};

pub fn input(kind: OperationKind) -> Value {
    match kind {
        OperationKind::Create
        | OperationKind::Delete
        | OperationKind::Restart
        | OperationKind::Stop
        | OperationKind::Start
        | OperationKind::RenewCertificate
        | OperationKind::Repair => Value::Null,
        OperationKind::Scale => json!({}),
        OperationKind::GrowStorage => json!({ "to_gib": 64 }),
        OperationKind::ProtectStorage => json!({ "on": true }),
        OperationKind::ChangeParameters => json!({}),
        OperationKind::AllowExtensions => json!({}),
        OperationKind::ChangeExtension => json!({}),
        OperationKind::CreateDatabase => json!({}),
        OperationKind::DropDatabase => json!({}),
        OperationKind::ResetPassword => json!({}),
        OperationKind::ChangeNetworking => json!({}),
        OperationKind::ChangePooler => json!({}),
    }
}
