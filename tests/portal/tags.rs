//! Tags: edited in one form, never overwritten unseen, and links to servers that share them.

use crate::access_world::Things;
use crate::helpers::{Browser, each_database};

async fn seen(who: &mut Browser, page: &str) -> String {
    let body = who.get(page).await.body;
    let value = body.split("name=\"seen\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    value.unwrap().to_owned()
}

#[actix_web::test]
async fn tags_are_added_changed_and_removed_together() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = Things::new(&app, "shop", 20_001).await;
        Things::new(&app, "bank", 20_002).await;
        let path = shop.server.path("/tags");
        let was = seen(&mut olga, &path).await;
        let form = [
            ("seen", was.as_str()),
            ("tag_name", "team"),
            ("tag_value", "web & more"),
            ("tag_name", ""),
            ("tag_value", ""),
            ("tag_name", "env"),
            ("tag_value", "prod"),
        ];
        let more = [form.as_slice(), &[("action", "add_tag")]].concat();
        let drawn = olga.press(&path, &more).await;
        assert!(drawn.status == 200 && drawn.body.contains("Not saved yet"));
        assert_eq!(drawn.body.matches("name=\"tag_name\"").count(), 4);
        let less = [form.as_slice(), &[("action", "remove_tag:0")]].concat();
        assert!(!olga.press(&path, &less).await.body.contains("web"));
        let save = [form.as_slice(), &[("action", "save")]].concat();
        assert_eq!(olga.press(&path, &save).await.status, 303);
        let line = &app.activities().await[0];
        assert_eq!(line.detail, "added env=prod; changed team=web & more");
        let list = olga.get("/servers?tag=env%3Dprod").await.body;
        assert!(list.contains("1 of 2 servers") && list.contains(&shop.server.path("\"")));
        assert!(list.contains("/servers?tag=team%3Dweb%20%26%20more"), "a tag is a link");
        let overview = olga.get(&shop.server.path("")).await.body;
        assert!(overview.contains("env: prod") && overview.contains("/servers?tag=env%3Dprod"));
        let group = format!("/servers?group={}", shop.group);
        let list = olga.get(&group).await.body;
        assert!(list.contains("1 of 2 servers") && list.contains(&shop.server.path("\"")));
    })
    .await;
}

#[actix_web::test]
async fn two_people_do_not_overwrite_each_other() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut ada = app.person(&mut olga, "ada", "Contributor").await;
        let shop = Things::new(&app, "shop", 20_001).await;
        let path = shop.server.path("/tags");
        let was = seen(&mut olga, &path).await;
        let save = |name: &'static str, seen: String| {
            [("seen", seen), ("tag_name", name.into()), ("tag_value", "1".into())]
        };
        let first = save("ada", was.clone());
        let pairs: Vec<_> = first.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(ada.press(&path, &pairs).await.status, 303);
        let second = save("olga", was);
        let pairs: Vec<_> = second.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let told = olga.press(&path, &pairs).await;
        assert!(told.status == 409 && told.body.contains("ada=1") && told.body.contains("olga"));
        let now = told.body.split("name=\"seen\" value=\"").nth(1).unwrap();
        let again = save("olga", now.split('"').next().unwrap().to_owned());
        let pairs: Vec<_> = again.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(olga.press(&path, &pairs).await.status, 303);
        let tags = app.state.store.server(&shop.server.id).await.unwrap().unwrap().spec.tags;
        assert_eq!((tags.len(), tags[0].name.as_str()), (1, "olga"));
        let bad = [("seen", ""), ("tag_name", "<x>"), ("tag_value", "")];
        let refused = olga.press(&path, &bad).await;
        assert!(refused.status == 422 && refused.body.contains("e-tag_name-0"));
    })
    .await;
}
