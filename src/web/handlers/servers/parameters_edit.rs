//! What a person edited: each field beside what it held when the page was made, so that fields left alone
//! say nothing, and a change by somebody else in between is seen.

use super::parameters_view::shown_now;
use crate::domain::parameters::cross::{Findings, Wanted};
use crate::domain::parameters::{Catalogue, Change, Parameter, ParameterChange};
use crate::domain::server::Server;
use crate::web::form::Posted;
use std::collections::BTreeMap;

/// Characters of a typed value that are kept to be shown again.
const TYPED_MAX: usize = 1000;

/// One edited parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    pub parameter: Parameter,
    /// What it is now.
    pub now: String,
    /// What the page of the edit had shown.
    was: String,
    /// As typed; empty goes back to the default.
    pub typed: String,
    /// As it will be written.
    written: Result<String, String>,
    is_modified: bool,
}

/// Everything that was edited, with what is to be said of it as a whole.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Edits {
    pub rows: Vec<Edit>,
    pub warnings: Vec<String>,
}

impl Edit {
    fn new(parameter: &Parameter, server: &Server, was: &str, typed: &str) -> Self {
        let set = &server.configuration.parameters;
        let is_modified = set.contains_key(&parameter.name);
        let typed: String = typed.chars().take(TYPED_MAX).collect();
        let written = match (parameter.why_locked(), typed.is_empty()) {
            (Some(why), _) => Err(format!("It cannot be changed. {why}")),
            (None, true) => Ok(parameter.default.clone()),
            (None, false) => parameter.read(&typed).map_err(|fault| fault.0),
        };
        Self {
            now: shown_now(parameter, set),
            parameter: parameter.clone(),
            was: was.to_owned(),
            typed,
            written,
            is_modified,
        }
    }

    pub fn fault(&self) -> Option<&str> {
        self.written.as_ref().err().map(String::as_str)
    }

    pub fn is_reset(&self) -> bool {
        self.typed.is_empty()
    }

    /// What it becomes; as typed where that is no value.
    pub fn becomes(&self) -> &str {
        self.written.as_deref().unwrap_or(&self.typed)
    }

    pub fn is_static(&self) -> bool {
        self.parameter.change() == Change::Static
    }

    /// Whether somebody changed it after the page of the edit was made.
    pub fn is_overtaken(&self) -> bool {
        self.was != self.now
    }

    /// Whether saving it would change anything.
    fn says_something(&self) -> bool {
        match &self.written {
            Err(_) => true,
            Ok(_) if self.is_reset() => self.is_modified,
            Ok(written) => *written != self.now,
        }
    }
}

impl Edits {
    pub fn can_be_saved(&self) -> bool {
        self.rows.iter().all(|row| row.fault().is_none())
    }

    pub fn needs_restart(&self) -> bool {
        self.rows.iter().any(Edit::is_static)
    }

    /// What is asked of the operation.
    pub fn change(&self, restart: bool) -> ParameterChange {
        let mut change = ParameterChange { restart, ..Default::default() };
        for row in &self.rows {
            if row.is_reset() {
                change.reset.insert(row.parameter.name.clone());
            } else {
                change.set.insert(row.parameter.name.clone(), row.becomes().to_owned());
            }
        }
        change
    }

    /// Words for the activity log: names, and values of a single one.
    pub fn about(&self) -> String {
        let names: Vec<&str> = self.rows.iter().map(|row| row.parameter.name.as_str()).collect();
        match (&self.rows[..], names.len()) {
            ([one], _) => format!("{}: {} to {}", names.concat(), one.now, one.becomes()),
            (_, 2..=4) => names.join(", "),
            _ => format!(
                "{} and {} more",
                names[..names.len().min(3)].join(", "),
                names.len().saturating_sub(3)
            ),
        }
    }
}

/// Reads the fields `p.NAME` with their `was.NAME`, and the buttons that reset one or all.
pub fn read(catalogue: &Catalogue, server: &Server, has_ha: bool, posted: &Posted) -> Edits {
    let set = &server.configuration.parameters;
    let is_reset = |name: &str| {
        posted.all("reset").any(|one| one == name)
            || (posted.has("reset_all") && set.contains_key(name))
    };
    let mut rows = vec![];
    for parameter in &catalogue.parameters {
        let (field, was_field) =
            (format!("p.{}", parameter.name), format!("was.{}", parameter.name));
        let now = shown_now(parameter, set);
        let edit = if is_reset(&parameter.name) {
            Edit::new(parameter, server, &now, "")
        } else if posted.has(&field) && (posted.text(&field) != posted.text(&was_field)) {
            Edit::new(parameter, server, posted.text(&was_field), posted.text(&field))
        } else {
            continue;
        };
        if edit.says_something() {
            rows.push(edit);
        }
    }
    with_findings(catalogue, server, has_ha, rows)
}

/// Puts the faults and warnings of everything together to the single values.
fn with_findings(
    catalogue: &Catalogue,
    server: &Server,
    has_ha: bool,
    mut rows: Vec<Edit>,
) -> Edits {
    let edits = Edits { rows: rows.clone(), warnings: vec![] };
    let good = ParameterChange {
        set: edits.change(false).set.into_iter().filter(|(name, _)| is_good(&rows, name)).collect(),
        ..edits.change(false)
    };
    let set: BTreeMap<String, String> = good.applied_to(&server.configuration.parameters);
    let wanted = Wanted { catalogue, sku: server.spec.sku(), set: &set, has_ha };
    let Findings { faults, warnings } = wanted.check(&good.names());
    for (name, fault) in faults {
        for row in rows.iter_mut().filter(|row| row.parameter.name == name) {
            row.written = Err(fault.0.clone());
        }
    }
    Edits { rows, warnings }
}

fn is_good(rows: &[Edit], name: &str) -> bool {
    rows.iter().any(|row| row.parameter.name == name && row.fault().is_none())
}
