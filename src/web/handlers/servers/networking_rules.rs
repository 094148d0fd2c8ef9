//! Changes of firewall rules: one transaction each, with its line in the activity log, then a poke to
//! the gateway of this process; other gateways ask by themselves.

use crate::domain::activity::NewActivity;
use crate::domain::ids::{RuleId, ServerId};
use crate::domain::lock::Act;
use crate::domain::network::{Access, AddressRange, FirewallRule, RULES_MAX};
use crate::domain::refusal::Refusal;
use crate::domain::server::Server;
use crate::operations::guard::refuse_if_locked;
use crate::operations::submit::SubmitError;
use crate::store::routes::RuleSaved;
use crate::store::{Record, WriteTx};
use crate::web::error::PageError;
use crate::web::visit::{Contributor, Signed};
use std::net::Ipv4Addr;

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Added,
    Updated,
    Deleted(FirewallRule),
    /// Nothing was written; the person is told why.
    Refused(Refusal),
    /// The server, or the rule, is not there any more.
    Gone,
}

/// Adds a rule, or gives the rule of the same name the new range.
///
/// # Errors
/// When the store does not answer.
pub async fn save(
    visit: &Signed<Contributor>,
    id: &ServerId,
    rule: &FirewallRule,
) -> Result<Change, PageError> {
    let (mut tx, server) = match open(visit, id).await? {
        Ok(opened) => opened,
        Err(change) => return Ok(change),
    };
    let (change, action) = match tx.save_firewall_rule(id, rule).await? {
        RuleSaved::Added => (Change::Added, "firewall_rule.create"),
        RuleSaved::Updated => (Change::Updated, "firewall_rule.update"),
        RuleSaved::Full => return Ok(Change::Refused(full())),
    };
    finish(visit, tx, activity(visit, action, &server, rule)).await?;
    Ok(change)
}

/// Gives a rule another name or range.
///
/// # Errors
/// When the store does not answer.
pub async fn update(
    visit: &Signed<Contributor>,
    id: &ServerId,
    rule: &FirewallRule,
) -> Result<Change, PageError> {
    let (mut tx, server) = match open(visit, id).await? {
        Ok(opened) => opened,
        Err(change) => return Ok(change),
    };
    match tx.update_firewall_rule(id, rule).await {
        Ok(true) => {}
        Ok(false) => return Ok(Change::Gone),
        Err(error) if error.is_unique_violation() => return Ok(Change::Refused(taken(&rule.name))),
        Err(error) => return Err(error.into()),
    }
    finish(visit, tx, activity(visit, "firewall_rule.update", &server, rule)).await?;
    Ok(Change::Updated)
}

/// Deletes a rule.
///
/// # Errors
/// When the store does not answer.
pub async fn delete(
    visit: &Signed<Contributor>,
    id: &ServerId,
    rule: &RuleId,
) -> Result<Change, PageError> {
    let (mut tx, server) = match open(visit, id).await? {
        Ok(opened) => opened,
        Err(change) => return Ok(change),
    };
    let Some(rule) = tx.delete_firewall_rule(id, rule).await? else { return Ok(Change::Gone) };
    finish(visit, tx, activity(visit, "firewall_rule.delete", &server, &rule)).await?;
    Ok(Change::Deleted(rule))
}

/// A transaction that holds the server's row, so that no rule is written to a server that goes.
async fn open(
    visit: &Signed<Contributor>,
    id: &ServerId,
) -> Result<Result<(WriteTx, Server), Change>, PageError> {
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    let server = match tx.lock_server(id).await? {
        None => return Ok(Err(Change::Gone)),
        Some(server) if server.spec.access == Access::Private => {
            return Ok(Err(Change::Refused(private())));
        }
        Some(server) => server,
    };
    match refuse_if_locked(&mut tx, id, Act::Change).await {
        Ok(()) => Ok(Ok((tx, server))),
        Err(SubmitError::Refused(refusal)) => Ok(Err(Change::Refused(refusal))),
        Err(SubmitError::Store(error)) => Err(error.into()),
    }
}

async fn finish(
    visit: &Signed<Contributor>,
    tx: WriteTx,
    line: NewActivity,
) -> Result<(), PageError> {
    tx.commit(Record::activity(line)).await?;
    visit.state.poke.routes();
    Ok(())
}

fn activity(
    visit: &Signed<Contributor>,
    action: &'static str,
    server: &Server,
    rule: &FirewallRule,
) -> NewActivity {
    NewActivity {
        server_id: Some(server.id.clone()),
        detail: format!("{}: {}", rule.name, range_text(&rule.range)),
        ..visit.activity(action, server.spec.name.as_str())
    }
}

/// Name of the rule for one client.
pub fn client_name(address: Ipv4Addr) -> String {
    format!("client-{}", address.to_string().replace('.', "-"))
}

/// The name, or the first of `name-2`, `name-3`, … that nobody has.
pub fn free_name(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    if !is_taken(name) {
        return name.to_owned();
    }
    let numbered = |number: usize| format!("{name}-{number}");
    let found = (2..).map(numbered).find(|name| !is_taken(name));
    found.unwrap_or_else(|| name.to_owned())
}

/// A range in words.
pub fn range_text(range: &AddressRange) -> String {
    if range.is_everyone() {
        "every IPv4 address".into()
    } else if range.start == range.end {
        range.start.to_string()
    } else {
        format!("{} to {}", range.start, range.end)
    }
}

fn full() -> Refusal {
    Refusal::whole(format!(
        "A server has at most {RULES_MAX} firewall rules. Delete one, or widen one that is there."
    ))
}

fn private() -> Refusal {
    Refusal::whole("The server has private access: firewall rules do not apply to it.")
}

fn taken(name: &str) -> Refusal {
    Refusal::at("rule_name", format!("Another rule of this server is named {name}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let name = client_name(Ipv4Addr::LOCALHOST);
        assert_eq!(free_name(&name, |_| false), "client-127-0-0-1");
        let taken = ["client-127-0-0-1", "client-127-0-0-1-2"];
        assert_eq!(free_name(&name, |name| taken.contains(&name)), "client-127-0-0-1-3");
    }
}
