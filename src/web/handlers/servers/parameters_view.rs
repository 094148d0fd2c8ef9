//! The list of parameters as the page shows it: one tab, one search, one page of it.

use crate::domain::parameters::{Catalogue, Change, Kind, Parameter};
use crate::web::form::{Choice, Posted};
use crate::web::query;
use std::collections::BTreeMap;

/// Rows on a page: what a form may hold and a person can scan.
const PAGE: usize = 50;
/// Characters of a search.
const SEARCH_MAX: usize = 80;

/// Which parameters are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    All,
    Modified,
    Static,
    Dynamic,
    ReadOnly,
}

impl Group {
    const ALL: [Group; 5] =
        [Group::All, Group::Modified, Group::Static, Group::Dynamic, Group::ReadOnly];

    fn key(self) -> &'static str {
        match self {
            Group::All => "",
            Group::Modified => "modified",
            Group::Static => "static",
            Group::Dynamic => "dynamic",
            Group::ReadOnly => "read-only",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Group::All => "All",
            Group::Modified => "Modified",
            Group::Static => "Static",
            Group::Dynamic => "Dynamic",
            Group::ReadOnly => "Read-only",
        }
    }

    fn has(self, parameter: &Parameter, set: &BTreeMap<String, String>) -> bool {
        match self {
            Group::All => true,
            Group::Modified => set.contains_key(&parameter.name),
            Group::Static => parameter.change() == Change::Static,
            Group::Dynamic => parameter.change() == Change::Dynamic,
            Group::ReadOnly => parameter.change() == Change::ReadOnly,
        }
    }
}

/// What of the list is asked for, as it stands in the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    group: Group,
    search: String,
    page: usize,
    base: String,
}

impl Filter {
    pub fn read(asked: &Posted, base: String) -> Self {
        let tab = asked.text("tab");
        Self {
            group: Group::ALL.into_iter().find(|group| group.key() == tab).unwrap_or(Group::All),
            search: asked.text("q").chars().take(SEARCH_MAX).collect(),
            page: asked.text("page").parse().unwrap_or(1).clamp(1, 100),
            base,
        }
    }

    fn path(&self, group: Group, page: usize) -> String {
        let number = if page > 1 { page.to_string() } else { String::new() };
        query::url(&self.base, &[("tab", group.key()), ("q", &self.search), ("page", &number)])
    }

    fn finds(&self, parameter: &Parameter) -> bool {
        let mut words = self.search.split_whitespace();
        words.all(|word| {
            let word = word.to_lowercase();
            parameter.name.to_lowercase().contains(&word)
                || parameter.description.to_lowercase().contains(&word)
                || parameter.category.to_lowercase().contains(&word)
        })
    }
}

/// A tab with the number of its rows.
pub struct TabLink {
    pub label: &'static str,
    pub path: String,
    pub count: usize,
    pub is_here: bool,
}

/// The list as shown.
pub struct List {
    pub tabs: Vec<TabLink>,
    pub rows: Vec<Row>,
    pub search: String,
    pub tab: &'static str,
    /// The list without the search.
    pub cleared: String,
    pub found: usize,
    pub first: usize,
    pub newer: String,
    pub older: String,
}

impl List {
    pub fn new(
        catalogue: &Catalogue,
        set: &BTreeMap<String, String>,
        filter: &Filter,
        major: u32,
    ) -> Self {
        let matching: Vec<&Parameter> =
            catalogue.parameters.iter().filter(|one| filter.finds(one)).collect();
        let tab = |group: Group| TabLink {
            label: group.label(),
            path: filter.path(group, 1),
            count: matching.iter().filter(|one| group.has(one, set)).count(),
            is_here: group == filter.group,
        };
        let listed: Vec<&&Parameter> =
            matching.iter().filter(|one| filter.group.has(one, set)).collect();
        let pages = listed.len().div_ceil(PAGE).max(1);
        let page = filter.page.min(pages);
        let first = (page - 1) * PAGE;
        let beside =
            |on: bool, to: usize| if on { filter.path(filter.group, to) } else { String::new() };
        Self {
            tabs: Group::ALL.map(tab).into(),
            rows: listed
                .iter()
                .skip(first)
                .take(PAGE)
                .map(|one| Row::new(one, set, major))
                .collect(),
            search: filter.search.clone(),
            tab: filter.group.key(),
            cleared: Filter { search: String::new(), ..filter.clone() }.path(filter.group, 1),
            found: listed.len(),
            first: first + 1,
            newer: beside(page > 1, page.saturating_sub(1)),
            older: beside(page < pages, page + 1),
        }
    }

    /// "1 to 50 of 386"
    pub fn extent(&self) -> String {
        match self.rows.len() {
            0 => "none".into(),
            shown if shown == self.found => format!("{shown}"),
            shown => format!("{} to {} of {}", self.first, self.first + shown - 1, self.found),
        }
    }
}

/// One parameter as shown.
pub struct Row {
    pub name: String,
    pub description: String,
    /// What it is set to.
    pub value: String,
    /// The value in force, where that is another one.
    pub running: Option<String>,
    pub default: String,
    pub allowed: String,
    pub unit: &'static str,
    pub change: Change,
    pub why_locked: Option<&'static str>,
    pub is_modified: bool,
    /// Whether it waits for a restart.
    pub is_pending: bool,
    /// What can be chosen, where there is a choice.
    pub choices: Vec<Choice>,
    pub manual: Option<String>,
}

impl Row {
    fn new(parameter: &Parameter, set: &BTreeMap<String, String>, major: u32) -> Self {
        let value = shown_now(parameter, set);
        let why_locked = parameter.why_locked();
        Self {
            running: (parameter.value != value && parameter.kind != Kind::Text)
                .then(|| parameter.value.clone()),
            is_modified: set.contains_key(&parameter.name),
            is_pending: parameter.is_pending,
            name: parameter.name.clone(),
            description: parameter.description.clone(),
            default: parameter.default.clone(),
            allowed: parameter.allowed(),
            unit: parameter.unit.label(),
            change: parameter.change(),
            choices: if why_locked.is_none() { choices(parameter) } else { vec![] },
            why_locked,
            manual: parameter.manual(major),
            value,
        }
    }

    pub fn is_static(&self) -> bool {
        self.change == Change::Static
    }

    /// Whether the allowed values need a line of their own.
    pub fn has_range(&self) -> bool {
        self.choices.is_empty() && self.why_locked.is_none()
    }
}

fn choices(parameter: &Parameter) -> Vec<Choice> {
    match parameter.kind {
        Kind::Bool => ["on", "off"].map(|word| Choice::new(word, word)).into(),
        Kind::Enum => {
            parameter.choices.iter().map(|word| Choice::new(word.as_str(), word.as_str())).collect()
        }
        Kind::Integer | Kind::Real | Kind::Text => vec![],
    }
}

/// What a parameter is set to: by a person, or else by default. What is only seen stands for one that nobody set
/// and nothing waits for.
pub fn shown_now(parameter: &Parameter, set: &BTreeMap<String, String>) -> String {
    match set.get(&parameter.name) {
        Some(value) => value.clone(),
        None if parameter.is_pending => parameter.default.clone(),
        None => parameter.value.clone(),
    }
}
