//! What the page of extensions shows and what its forms may ask, worked out from the last look.

use crate::domain::extensions::{
    self as domain, ExtensionAction, ExtensionChange, ExtensionLook, Offer,
};
use crate::domain::refusal::Refusal;
use crate::web::form::{Choice, FormState};
use std::collections::BTreeSet;

/// Everything below the frame.
pub struct ExtensionsView {
    pub installed: Vec<InstalledRow>,
    /// Databases that did not answer.
    pub silent: Vec<String>,
    pub left_out: u32,
    pub offers: Vec<OfferRow>,
    pub closed: Vec<ClosedRow>,
    pub databases: Vec<Choice>,
    /// Allowed ones that can be created.
    pub creatable: Vec<Choice>,
    pub allowed_count: usize,
    /// Allowed ones whose library is not loaded yet, or is loaded still.
    pub pending: Vec<String>,
}

/// An extension in a database.
pub struct InstalledRow {
    pub database: String,
    pub name: String,
    pub version: String,
    pub schema: String,
    /// The version that it could be updated to.
    pub newer: Option<String>,
    pub is_allowed: bool,
}

/// An extension that may be allowed.
pub struct OfferRow {
    pub name: String,
    pub version: String,
    pub comment: String,
    pub note: &'static str,
    pub needs: String,
    pub is_preloaded: bool,
    pub is_allowed: bool,
    /// Databases that have it.
    pub places: String,
}

/// One that is in the image and is not offered.
pub struct ClosedRow {
    pub name: String,
    pub why: &'static str,
}

impl ExtensionsView {
    pub fn new(look: &ExtensionLook, allowed: &BTreeSet<String>, f: &FormState) -> Self {
        let edited: BTreeSet<String> = if f.chosen("edited", "1") {
            f.all("allow").into_iter().map(str::to_owned).collect()
        } else {
            allowed.clone()
        };
        let mut offers: Vec<OfferRow> =
            look.available.iter().filter_map(|one| offer_row(look, one, &edited)).collect();
        offers.push(module_row(&edited));
        offers.sort_by(|a, b| a.name.cmp(&b.name));
        let named = |name: &String| Choice::new(name.as_str(), name.as_str());
        let databases = look.databases.iter().filter(|one| one.installed.is_some());
        let creatable = allowed.iter().filter(|name| look.available(name).is_some());
        Self {
            installed: installed(look, allowed),
            silent: look
                .databases
                .iter()
                .filter(|one| one.installed.is_none())
                .map(|one| one.name.clone())
                .collect(),
            left_out: look.left_out,
            offers,
            closed: closed(look),
            databases: databases.map(|one| named(&one.name)).collect(),
            creatable: creatable.map(named).collect(),
            allowed_count: allowed.len(),
            pending: pending(look, allowed),
        }
    }
}

fn offer_row(
    look: &ExtensionLook,
    one: &domain::Available,
    allowed: &BTreeSet<String>,
) -> Option<OfferRow> {
    let note = match domain::offer(&one.name) {
        Offer::Closed(_) => return None,
        Offer::Open => "",
        Offer::Note(note) => note,
    };
    let places: Vec<&str> = look.installed_in(&one.name).map(|(database, _)| database).collect();
    Some(OfferRow {
        name: one.name.clone(),
        version: one.version.clone(),
        comment: one.comment.clone(),
        note,
        needs: one.requires.join(", "),
        is_preloaded: domain::preload(&one.name).is_some(),
        is_allowed: allowed.contains(&one.name),
        places: places.join(", "),
    })
}

fn module_row(allowed: &BTreeSet<String>) -> OfferRow {
    let name = domain::AUTO_EXPLAIN;
    OfferRow {
        name: name.into(),
        version: String::new(),
        comment: "writes the plans of slow statements into the log".into(),
        note: if let Offer::Note(note) = domain::offer(name) { note } else { "" },
        needs: String::new(),
        is_preloaded: true,
        is_allowed: allowed.contains(name),
        places: String::new(),
    }
}

fn installed(look: &ExtensionLook, allowed: &BTreeSet<String>) -> Vec<InstalledRow> {
    let mut rows = vec![];
    for database in &look.databases {
        for one in database.installed.iter().flatten() {
            let newest = look.available(&one.name).map(|available| &available.version);
            let newer = newest.filter(|version| **version != one.version);
            rows.push(InstalledRow {
                database: database.name.clone(),
                name: one.name.clone(),
                version: one.version.clone(),
                schema: one.schema.clone(),
                newer: newer.cloned(),
                is_allowed: allowed.contains(&one.name),
            });
        }
    }
    rows
}

fn closed(look: &ExtensionLook) -> Vec<ClosedRow> {
    let closed = look.available.iter().filter_map(|one| match domain::offer(&one.name) {
        Offer::Closed(why) => Some(ClosedRow { name: one.name.clone(), why }),
        Offer::Open | Offer::Note(_) => None,
    });
    closed.collect()
}

/// Libraries of the list that are not loaded, and loaded ones that are not on it.
fn pending(look: &ExtensionLook, allowed: &BTreeSet<String>) -> Vec<String> {
    let wanted: BTreeSet<&str> = domain::libraries(allowed).into_iter().collect();
    let loaded: BTreeSet<&str> = look.loaded.iter().map(String::as_str).collect();
    let missing = wanted.difference(&loaded).map(|name| format!("{name} is not loaded yet"));
    let spare = loaded.difference(&wanted).map(|name| format!("{name} is still loaded"));
    missing.chain(spare).collect()
}

/// A list as one text, to compare.
pub fn listed(allowed: &BTreeSet<String>) -> String {
    allowed.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

/// "+ hstore, - citext", for the activity log.
pub fn difference(before: &BTreeSet<String>, after: &BTreeSet<String>) -> String {
    let added = after.difference(before).map(|name| format!("+ {name}"));
    let removed = before.difference(after).map(|name| format!("- {name}"));
    let all: Vec<String> = added.chain(removed).collect();
    match all.len() {
        0..=6 => all.join(", "),
        more => format!("{}, {} more", all[..5].join(", "), more - 5),
    }
}

/// Whether a list may replace another.
///
/// # Errors
/// When it names what is not offered, or leaves out what a database has.
pub fn check_list(
    before: &BTreeSet<String>,
    after: &BTreeSet<String>,
    look: &ExtensionLook,
) -> Result<(), Refusal> {
    for name in after {
        let is_there = look.available(name).is_some() || name == domain::AUTO_EXPLAIN;
        if !domain::is_offered(name) || !is_there {
            let name: String = name.chars().take(63).collect();
            return Err(Refusal::whole(format!("{name} is not offered for this server.")));
        }
    }
    for name in before.difference(after) {
        let places: Vec<&str> = look.installed_in(name).map(|(database, _)| database).collect();
        if !places.is_empty() {
            return Err(Refusal::whole(format!(
                "{name} is installed in {}. Drop it there first, then take it off the list.",
                places.join(", ")
            )));
        }
    }
    Ok(())
}

/// Whether a change of an extension makes sense by the last look.
///
/// # Errors
/// What is wrong with it, at its field.
pub fn check_change(
    asked: &ExtensionChange,
    allowed: &BTreeSet<String>,
    look: &ExtensionLook,
) -> Result<(), Refusal> {
    let Some(database) = look.databases.iter().find(|one| one.name == asked.database) else {
        return Err(Refusal::at("database", "Choose one of the server's databases."));
    };
    if !allowed.contains(&asked.extension) || look.available(&asked.extension).is_none() {
        return Err(Refusal::at("extension", "Choose one of the allowed extensions."));
    }
    let is_there = database.installed.iter().flatten().any(|one| one.name == asked.extension);
    match asked.action {
        ExtensionAction::Create if is_there => Err(Refusal::at(
            "extension",
            format!("{} is in {} already.", asked.extension, asked.database),
        )),
        ExtensionAction::Update if !is_there => Err(Refusal::whole(format!(
            "{} is not in {}, as last seen.",
            asked.extension, asked.database
        ))),
        _ => Ok(()),
    }
}
