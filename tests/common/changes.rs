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
        OperationKind::GrowStorage => json!({}),
        OperationKind::ProtectStorage => json!({}),
        OperationKind::ChangeParameters => {
            json!({ "set": { "work_mem": "8MB" }, "reset": [], "restart": true })
        }
        OperationKind::AllowExtensions => {
            json!({ "allowed": ["hstore", "pgaudit"], "restart": true })
        }
        OperationKind::ChangeExtension => {
            json!({ "database": "sales", "extension": "hstore", "action": "create" })
        }
        OperationKind::CreateDatabase => json!({}),
        OperationKind::DropDatabase => json!({}),
        OperationKind::ResetPassword => json!({}),
        OperationKind::ChangeNetworking => json!({}),
        OperationKind::ChangePooler => json!({}),
    }
}
