//! The usual input of each kind, for sweeps: one arm for each.

use pgflex::domain::operation::OperationKind;
use serde_json::{Value, json};

/// The virtual network that the world of the sweeps has.
pub const NETWORK: &str = "01890a5d-ac96-774b-bcce-0000000000ae";

pub fn input(kind: OperationKind) -> Value {
    match kind {
        OperationKind::Create
        | OperationKind::Delete
        | OperationKind::Restart
        | OperationKind::Stop
        | OperationKind::Start
        | OperationKind::RenewCertificate
        | OperationKind::Repair => Value::Null,
        OperationKind::Scale => json!({ "to": "Standard_B2s", "about": "to B2s" }),
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
        OperationKind::ChangeNetworking => json!({
            "access": "Private", "network_id": NETWORK, "require_secure_transport": true
        }),
        OperationKind::ChangePooler => json!({}),
    }
}
