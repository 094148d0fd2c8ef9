//! What a backup adds and `expire` removes, as pgBackRest does it.

use super::{FakeSet, Order, Stanza};
use std::collections::BTreeMap;

const DAY: i64 = 86_400;

pub(super) fn path_in(conf: &str) -> String {
    conf.lines().find_map(|line| line.strip_prefix("repo1-path=")).unwrap_or_default().into()
}

/// As the script removes it: in the directory that it is told. What lies in another one stays.
pub(super) fn erase(
    stanzas: &mut BTreeMap<String, Stanza>,
    order: &Order,
    is_direct: bool,
) -> Result<String, String> {
    let [.., name, path] = order.words.as_slice() else { return Err("erase what?".into()) };
    if is_direct || stanzas.get(name).is_some_and(|one| one.path == *path) {
        stanzas.remove(name);
    }
    Ok(String::new())
}

/// Days that the file says; `None` where it says none. A number of backups instead of days is used nowhere.
fn days(conf: &str) -> Result<Option<i64>, String> {
    let value = |name: &str| conf.lines().find_map(|line| line.strip_prefix(name));
    let Some(days) = value("repo1-retention-full=") else { return Ok(None) };
    if value("repo1-retention-full-type=") != Some("time") {
        return Err("the fake keeps by time alone".into());
    }
    days.parse().map(Some).map_err(|_| format!("'{days}' is not valid for 'repo1-retention-full'"))
}

impl Stanza {
    pub(super) fn back_up(
        &mut self,
        order: &Order,
        conf: &str,
        (now, number): (i64, i64),
    ) -> Result<String, String> {
        let label = self.take(order, now, number).label.clone();
        // Unless it is told not to, it goes on with that by itself.
        if !conf.contains("\nexpire-auto=n\n") {
            self.expire(None, (conf, now))?;
        }
        Ok(format!("new backup label = {label}"))
    }

    /// One set with all that rest on it, or, without a label, what is older than the file says. A set that is not there is
    /// no error, and the only full one stays.
    pub(super) fn expire(
        &mut self,
        label: Option<&str>,
        (conf, now): (&str, i64),
    ) -> Result<String, String> {
        match label {
            Some(label) => self.expire_one(label)?,
            None => self.expire_old(conf, now)?,
        }
        Ok("expire command end: completed successfully".into())
    }

    fn expire_one(&mut self, label: &str) -> Result<(), String> {
        let fulls = self.sets.iter().filter(|set| set.kind == "full").count();
        if fulls == 1 && self.sets.iter().any(|set| set.label == label && set.kind == "full") {
            return Err(format!(
                "repo1: full backup {label} cannot be expired until another full backup has been created on this repo"
            ));
        }
        self.remove(label);
        Ok(())
    }

    fn remove(&mut self, label: &str) {
        let goes = |set: &FakeSet| set.label == label || set.based_on.as_deref() == Some(label);
        self.sets.retain(|set| !goes(set));
    }

    /// From the newest on, the first full one that ended before the time is kept with all behind it.
    fn expire_old(&mut self, conf: &str, now: i64) -> Result<(), String> {
        let Some(days) = days(conf)? else { return Ok(()) };
        let limit = now - days * DAY;
        let fulls: Vec<_> = self.sets.iter().filter(|set| set.kind == "full").cloned().collect();
        let pivot = fulls.iter().rev().find(|set| set.ended_at < limit).or(fulls.first()).cloned();
        while let Some(pivot) = &pivot
            && let Some(first) = self.sets.first().map(|set| set.label.clone())
            && first != pivot.label
        {
            self.remove(&first);
        }
        Ok(())
    }
}
