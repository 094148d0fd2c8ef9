//! A browser: keeps cookies, sends Origin, picks up form tokens.

use super::TestApp;
use actix_web::body::to_bytes;
use actix_web::cookie::Cookie;
use actix_web::http::header::{HeaderMap, LOCATION};
use actix_web::test::TestRequest;
use std::collections::BTreeMap;

/// What came back.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    /// Where a redirect leads.
    pub fn location(&self) -> &str {
        self.header(LOCATION.as_str())
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The token of the first form on the page.
    pub fn token(&self) -> Option<String> {
        let start = self.body.find("name=\"csrf\" value=\"")? + 19;
        let end = self.body[start..].find('"')?;
        Some(self.body[start..start + end].to_owned())
    }
}

/// One browser of one person; a clone is a second tab that keeps its own copy of the cookies.
#[derive(Clone)]
pub struct Browser {
    app: TestApp,
    pub cookies: BTreeMap<String, String>,
    pub address: String,
    pub origin: Option<String>,
}

impl Browser {
    pub fn new(app: TestApp) -> Self {
        let origin = Some(app.state.config.public_url());
        Self { app, cookies: BTreeMap::new(), address: "192.0.2.7".into(), origin }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(TestRequest::get().uri(path)).await
    }

    /// Posts pairs as they are, with no token of their own.
    pub async fn post(&mut self, path: &str, pairs: &[(&str, &str)]) -> Answer {
        let body = serde_html_form::to_string(pairs).unwrap();
        self.post_body(path, body).await
    }

    pub async fn post_body(&mut self, path: &str, body: String) -> Answer {
        let mut request = TestRequest::post()
            .uri(path)
            .insert_header(("content-type", "application/x-www-form-urlencoded"))
            .insert_header(("content-length", body.len().to_string()))
            .set_payload(body);
        if let Some(origin) = &self.origin {
            request = request.insert_header(("origin", origin.clone()));
        }
        self.send(request).await
    }

    /// Opens the page of a form and sends the form with its token, as a person does.
    pub async fn post_form(&mut self, page: &str, action: &str, pairs: &[(&str, &str)]) -> Answer {
        let token = self.get(page).await.token().unwrap_or_else(|| panic!("no form on {page}"));
        let mut all = vec![("csrf", token.as_str())];
        all.extend_from_slice(pairs);
        self.post(action, &all).await
    }

    /// Posts with the token of the signed-in frame; any page has it.
    pub async fn press(&mut self, action: &str, pairs: &[(&str, &str)]) -> Answer {
        self.post_form("/account", action, pairs).await
    }

    pub async fn sign_in(&mut self, login: &str, password: &str) -> Answer {
        self.post_form("/sign-in", "/sign-in", &[("login", login), ("password", password)]).await
    }

    pub async fn join(&mut self, path: &str, login: &str, password: &str) -> Answer {
        let pairs = [("login", login), ("password", password), ("password_again", password)];
        self.post_form(path, path, &pairs).await
    }

    /// Makes an invitation and gives the path of its link.
    pub async fn invite(&mut self, note: &str, role: &str) -> String {
        let answer = self.press("/users/invites", &[("note", note), ("role", role)]).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        let page = self.get("/users").await.body;
        let link = page.split("copy-text\">").nth(1).and_then(|rest| rest.split('<').next());
        self.app.path_of(link.expect("the link is shown"))
    }

    pub async fn is_signed_in(&mut self) -> bool {
        self.get("/account").await.status == 200
    }

    pub async fn send(&mut self, request: TestRequest) -> Answer {
        let mut request = request.peer_addr(format!("{}:5000", self.address).parse().unwrap());
        for (name, value) in &self.cookies {
            request = request.cookie(Cookie::new(name.clone(), value.clone()));
        }
        match (self.app.call)(request).await {
            Ok(response) => self.take(response.into_parts().1).await,
            Err(error) => self.take(error.error_response()).await,
        }
    }

    async fn take(&mut self, response: actix_web::HttpResponse) -> Answer {
        for cookie in response.cookies() {
            if cookie.max_age().is_some_and(|age| age.is_zero()) || cookie.value().is_empty() {
                self.cookies.remove(cookie.name());
            } else {
                self.cookies.insert(cookie.name().into(), cookie.value().into());
            }
        }
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = to_bytes(response.into_body()).await.unwrap();
        Answer { status, headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }
}
