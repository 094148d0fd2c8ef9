//! Tags of one server: one form for all of them. What somebody else saved meanwhile is never lost silently.

use super::create_form::TagRow;
use super::nav::{self, Frame, Tab};
use crate::domain::activity::NewActivity;
use crate::domain::lock::Act;
use crate::domain::names::Tag;
use crate::domain::refusal::Refusal;
use crate::operations::guard::refuse_if_locked;
use crate::operations::submit::SubmitError;
use crate::secrets::sha256_hex;
use crate::store::Record;
use crate::web::error::PageResult;
use crate::web::flash::Flash;
use crate::web::form::{FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::visit::{Contributor, Reader, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;
use std::collections::HashSet;

#[derive(Template)]
#[template(path = "servers/tags.html")]
struct TagsPage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    /// What was typed, or what is stored.
    rows: Vec<Row>,
    /// What the form was made of.
    seen: String,
    is_unsaved: bool,
}

/// A line of the form.
struct Row {
    tag: TagRow,
    error: String,
    /// Servers with the same tag; empty for a line that is not stored.
    path: String,
}

impl TagsPage {
    fn action(&self) -> String {
        paths::server_tags(&self.frame.server.id)
    }

    fn may_add(&self) -> bool {
        self.rows.len() < Tag::COUNT_MAX
    }

    fn count_max(&self) -> usize {
        Tag::COUNT_MAX
    }
}

/// Something of the stored tags that two different sets never share.
fn fingerprint(tags: &[Tag]) -> String {
    let pairs: Vec<_> = tags.iter().map(|tag| format!("{}\n{}\n", tag.name, tag.value)).collect();
    sha256_hex(&pairs.concat())
}

fn stored_page(visit: &Visit, frame: Frame) -> TagsPage {
    let row = |tag: &Tag| Row {
        path: paths::servers_tagged(&tag.name, &tag.value),
        ..blank(TagRow { name: tag.name.clone(), value: tag.value.clone() })
    };
    let tags = &frame.server.spec.tags;
    let mut rows: Vec<Row> = tags.iter().map(row).collect();
    if rows.is_empty() && frame.may_change() {
        rows.push(blank(TagRow::default()));
    }
    let seen = fingerprint(tags);
    let layout = frame.layout(visit, "Tags");
    TagsPage { layout, f: FormState::new(), rows, seen, is_unsaved: false, frame }
}

fn blank(tag: TagRow) -> Row {
    Row { tag, error: String::new(), path: String::new() }
}

/// `GET /servers/{id}/tags`
pub async fn get(visit: Signed<Reader>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Tags).await? else {
        return nav::gone(&visit, &id).await;
    };
    page::ok(&stored_page(&visit, frame))
}

/// `POST /servers/{id}/tags`: saves, or draws the form with one line more or less and saves nothing.
pub async fn post(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Tags).await? else {
        return nav::gone(&visit, &id).await;
    };
    let mut typed = read(&posted);
    let page = |frame, f, typed, seen: &str| TagsPage {
        is_unsaved: true,
        seen: seen.to_owned(),
        ..typed_page(&visit, frame, f, typed)
    };
    let seen = posted.text("seen");
    match posted.text("action").split_once(':').unwrap_or((posted.text("action"), "")) {
        ("add_tag", _) if typed.len() < Tag::COUNT_MAX => {
            typed.push(TagRow::default());
            return page::ok(&page(frame, FormState::new(), typed, seen));
        }
        ("remove_tag", at) => {
            let at = at.parse::<usize>().unwrap_or(usize::MAX);
            if at < typed.len() {
                typed.remove(at);
            }
            return page::ok(&page(frame, FormState::new(), typed, seen));
        }
        _ => {}
    }
    let mut f = FormState::new();
    let tags = match check(&typed) {
        Ok(tags) => tags,
        Err(faults) => {
            faults.iter().for_each(|(_, text)| f.refuse(Refusal::whole(text)));
            let mut page = page(frame, f, typed, seen);
            for (at, text) in faults {
                if let Some(row) = page.rows.get_mut(at) {
                    row.error = text;
                }
            }
            return page::invalid(&page);
        }
    };
    match save(&visit, &frame, &tags, seen).await {
        Ok(()) => {
            let text = "The tags are saved.";
            page::see_with(&visit, &paths::server_tags(&frame.server.id), &Flash::done(text))
        }
        Err(SubmitError::Refused(refusal)) => {
            f.refuse(refusal);
            // The next save is made of what is stored now, which the refusal has shown.
            let now = fingerprint(&frame.server.spec.tags);
            page::with_status(StatusCode::CONFLICT, &page(frame, f, typed, &now))
        }
        Err(SubmitError::Store(error)) => Err(error.into()),
    }
}

fn typed_page(visit: &Visit, frame: Frame, f: FormState, typed: Vec<TagRow>) -> TagsPage {
    TagsPage {
        layout: frame.layout(visit, "Tags"),
        f,
        rows: typed.into_iter().map(blank).collect(),
        seen: String::new(),
        is_unsaved: true,
        frame,
    }
}

fn read(posted: &Posted) -> Vec<TagRow> {
    let mut values = posted.all("tag_value").map(str::to_owned);
    posted
        .all("tag_name")
        .map(|name| TagRow { name: name.to_owned(), value: values.next().unwrap_or_default() })
        .collect()
}

/// The typed lines as tags; lines that are empty count as removed. Every fault with its line.
fn check(typed: &[TagRow]) -> Result<Vec<Tag>, Vec<(usize, String)>> {
    let (mut tags, mut faults, mut names) = (vec![], vec![], HashSet::new());
    for (at, row) in typed.iter().enumerate() {
        match Tag::parse(&row.name, &row.value) {
            Ok(None) => {}
            Ok(Some(tag)) if !names.insert(tag.name.to_lowercase()) => {
                faults.push((at, format!("There is a tag named {} already.", tag.name)));
            }
            Ok(Some(tag)) => tags.push(tag),
            Err(refusal) => faults.push((at, refusal.text)),
        }
    }
    if tags.len() > Tag::COUNT_MAX {
        let text =
            format!("A server has at most {} tags; these are {}.", Tag::COUNT_MAX, tags.len());
        faults.push((usize::MAX, text));
    }
    if faults.is_empty() { Ok(tags) } else { Err(faults) }
}

async fn save(
    visit: &Signed<Contributor>,
    frame: &Frame,
    tags: &[Tag],
    seen: &str,
) -> Result<(), SubmitError> {
    let id = &frame.server.id;
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    let Some(server) = tx.lock_server(id).await? else {
        return Err(Refusal::whole("The server no longer exists.").into());
    };
    refuse_if_locked(&mut tx, id, Act::Change).await?;
    let before = &server.spec.tags;
    if fingerprint(before) != seen {
        return Err(changed_meanwhile(before).into());
    }
    if before == tags {
        return Ok(());
    }
    tx.set_tags(id, tags).await?;
    let line = NewActivity {
        server_id: Some(id.clone()),
        detail: difference(before, tags),
        ..visit.activity("server_tags.change", frame.name())
    };
    tx.commit(Record::activity(line)).await?;
    Ok(())
}

fn changed_meanwhile(now: &[Tag]) -> Refusal {
    let list = if now.is_empty() { "none".into() } else { texts(now.iter()) };
    Refusal::whole(format!(
        "Somebody changed the tags since you opened this page. They are now: {list}. Below is what you typed; save again to put it in their place."
    ))
}

/// Longest list of tags in a line of the log or in a message, in characters.
const LIST_MAX: usize = 500;

fn texts<'a>(tags: impl Iterator<Item = &'a Tag>) -> String {
    let all: Vec<String> = tags.map(|tag| format!("{}={}", tag.name, tag.value)).collect();
    let text = all.join(", ");
    if text.chars().count() <= LIST_MAX {
        return text;
    }
    text.chars().take(LIST_MAX).chain(" …".chars()).collect()
}

/// What was added, changed and removed.
fn difference(before: &[Tag], after: &[Tag]) -> String {
    let named = |tags: &'_ [Tag], name: &str| tags.iter().any(|tag| tag.name == name);
    let added = texts(after.iter().filter(|tag| !named(before, &tag.name)));
    let is_changed = |tag: &&Tag| named(before, &tag.name) && !before.contains(tag);
    let changed = texts(after.iter().filter(is_changed));
    let removed = texts(before.iter().filter(|tag| !named(after, &tag.name)));
    let parts = [("added", added), ("changed", changed), ("removed", removed)];
    let told = parts.iter().filter(|(_, list)| !list.is_empty());
    told.map(|(word, list)| format!("{word} {list}")).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(name: &str, value: &str) -> Tag {
        Tag { name: name.into(), value: value.into() }
    }

    #[test]
    fn the_difference_is_told_in_words() {
        let before = [tag("env", "prod"), tag("old", "x"), tag("same", "1")];
        let after = [tag("env", "test"), tag("same", "1"), tag("new", "")];
        assert_eq!(difference(&before, &after), "added new=; changed env=test; removed old=x");
        assert_eq!(difference(&before, &before), "");
    }

    #[test]
    fn faults_are_at_their_lines_and_empty_lines_are_removals() {
        let row = |name: &str, value: &str| TagRow { name: name.into(), value: value.into() };
        assert_eq!(check(&[row("", ""), row("a", "1")]).unwrap(), [tag("a", "1")]);
        let faults = check(&[row("a", ""), row("A", ""), row("", "x"), row("<", "x")]).unwrap_err();
        assert_eq!(faults.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn another_set_has_another_fingerprint() {
        assert_ne!(fingerprint(&[tag("a", "b")]), fingerprint(&[tag("a", "c")]));
        assert_ne!(fingerprint(&[]), fingerprint(&[tag("a", "")]));
    }
}
