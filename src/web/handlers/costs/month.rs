//! Which month and which group are asked for.

use crate::domain::bill::Month;
use crate::domain::ids::GroupId;
use crate::store::costs::CostFilter;
use crate::store::scope::Viewer;
use crate::web::form::{Choice, FormState, Posted};
use crate::web::query;
use chrono::{DateTime, Utc};

/// Months offered, at most.
const MONTHS_MAX: usize = 60;

/// The filters of the cost pages.
pub struct Asked {
    pub month: Month,
    pub filter: CostFilter,
}

impl Asked {
    /// Reads a query; what makes no sense is the running month of all groups.
    pub fn read(typed: &Posted, now: DateTime<Utc>, viewer: Viewer) -> Self {
        let this = Month::of(now);
        let month = Month::parse(typed.text("month")).filter(|month| *month <= this);
        let month = month.unwrap_or(this);
        let group = GroupId::parse(typed.text("group"));
        Self { month, filter: CostFilter { group, viewer, ..CostFilter::all(month.until(now)) } }
    }

    /// Whether the month still runs.
    pub fn is_open(&self, now: DateTime<Utc>) -> bool {
        self.month == Month::of(now)
    }

    pub fn form(&self) -> FormState {
        FormState::new().with("month", self.month.key()).with("group", self.group())
    }

    fn group(&self) -> &str {
        self.filter.group.as_ref().map_or("", |id| id.as_str())
    }

    /// The same filters at another address.
    pub fn url(&self, path: &str, page: &str) -> String {
        let month = self.month.key();
        query::url(path, &[("month", &month), ("group", self.group()), ("page", page)])
    }
}

/// Every month since the first meter, newest first.
pub fn choices(since: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Vec<Choice> {
    let (this, first) = (Month::of(now), Month::of(since.unwrap_or(now).min(now)));
    std::iter::successors(Some(this), |month| Some(month.previous()))
        .take_while(|month| *month >= first)
        .take(MONTHS_MAX)
        .map(|month| Choice::new(month.key(), month.label()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_this_month_and_the_future_is_not_offered() {
        let now: DateTime<Utc> = "2026-11-23T12:00:00Z".parse().unwrap();
        let read = |query: &str| {
            Asked::read(&Posted::parse(query.as_bytes()).unwrap(), now, Viewer::Portal)
        };
        for nonsense in ["", "month=x", "month=2027-01&group=x"] {
            let asked = read(nonsense);
            assert!(asked.is_open(now) && asked.filter.to == now, "{nonsense}");
            assert_eq!(asked.url("/costs", ""), "/costs?month=2026-11");
        }
        let past = read("month=2025-02");
        assert_eq!(past.filter.to, Month::parse("2025-03").unwrap().start());
        let since = "2026-09-30T00:00:00Z".parse().ok();
        let offered: Vec<_> = choices(since, now).into_iter().map(|choice| choice.value).collect();
        assert_eq!(offered, ["2026-11", "2026-10", "2026-09"]);
        assert_eq!(choices(None, now).len(), 1);
    }
}
