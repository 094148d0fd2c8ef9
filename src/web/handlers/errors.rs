//! The page shown instead of the one asked for.

use crate::web::error::ErrorDetail;
use crate::web::page::{Layout, Nav};
use crate::web::visit::Visit;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;

#[derive(Template)]
#[template(path = "errors/error.html")]
struct ErrorPage<'a> {
    layout: Layout,
    status: u16,
    detail: &'a ErrorDetail,
    reference: &'a str,
}

/// Draws the page in the frame of the visitor, or in an empty one when nobody got that far.
pub fn draw(
    visit: Option<&Visit>,
    status: StatusCode,
    detail: &ErrorDetail,
    reference: &str,
) -> HttpResponse {
    let layout = match visit {
        Some(visit) => visit.layout(detail.heading, Nav::None),
        None => empty_layout(detail.heading),
    };
    let page = ErrorPage { layout, status: status.as_u16(), detail, reference };
    let body = page.render().unwrap_or_else(|_| format!("{} ({reference})", detail.heading));
    HttpResponse::build(status).content_type("text/html; charset=utf-8").body(body)
}

fn empty_layout(title: &str) -> Layout {
    Layout {
        may_change: false,
        title: title.to_owned(),
        nav: Nav::None,
        user: None,
        csrf: String::new(),
        flash: None,
        engine_notice: None,
        path: "/".into(),
    }
}

/// Words for an error that the framework answered without any.
pub fn plain_detail(status: StatusCode) -> ErrorDetail {
    let what = status.canonical_reason().unwrap_or("The request was refused");
    ErrorDetail {
        heading: "The request was refused",
        what: format!("{what}."),
        advice: "Nothing was changed. Go back and try again.".into(),
        cause: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::refusal::Refusal;
    use crate::web::form::{Choice, FormState};

    #[derive(Template)]
    #[template(
        source = r#"{% extends "layout/base.html" %}{% import "macros/form.html" as form %}{% import "macros/view.html" as view %}
        {% block main %}{% call view::head("Title", sub="s") %}<a href="/x">x</a>{% endcall %}{% call form::start(layout, "/x") %}{% endcall %}{% call form::summary(f) %}{% endcall %}
        {% call form::field(f, "name", "Name", hint="h", required=true) %}{% endcall %}{% call form::field(f, "note", "Note", rows=3) %}{% endcall %}
        {% call form::select(f, "size", "Size", choices) %}{% endcall %}{% call form::radio_cards(f, "size", "Size", choices, class="cards-3") %}{% endcall %}{% call form::checkbox(f, "ok", "1", "Ok") %}{% endcall %}</form>
        {% call view::copy("psql x", name="psql") %}{% endcall %}{% call view::copy_block("psql x", "psql") %}{% endcall %}{% call view::fact("Term") %}value{% endcall %}{% call view::empty("None", "x") %}{% endcall %}{% call view::pager("", "/o") %}{% endcall %}
        {% endblock %}"#,
        ext = "html"
    )]
    struct Sample {
        layout: Layout,
        f: FormState,
        choices: Vec<Choice>,
    }

    #[test]
    fn every_macro_draws() {
        let mut f = FormState::new().with("size", "a").with("name", "<b>");
        f.refuse(Refusal::at("name", "Bad name."));
        let choices =
            vec![Choice::new("a", "A").price("€ 1"), Choice::new("b", "B").closed("No host.")];
        let html = Sample { layout: empty_layout("x"), f, choices }.render().unwrap();
        for part in [
            "value=\"&#60;b&#62;\"",
            "aria-describedby=\"h-name e-name\"",
            "href=\"#f-name\"",
            "disabled",
            "No host.",
            "href=\"/x\"",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
    }
}
