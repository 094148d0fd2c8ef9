//! Who may do what where: roles in resource groups, over every route of the table and in stories.

use crate::access_world::{NOTHING, Things, assign, fill, unassign};
use crate::helpers::{Answer, Browser, each_database};
use crate::server_seed::forget;
use actix_web::http::Method;
use pgflex::domain::account::Role;
use pgflex::web::authorise::{Scope, scope};
use pgflex::web::{Access, ROUTES, RouteInfo};

/// Routes with an id of something that belongs to the whole installation: the person's own role counts.
/// A new route with `{id}` is judged by its group, or stands here because somebody decided so.
const OF_THE_INSTALLATION: &[&str] =
    &["/networks/{id}", "/networks/{id}/delete", "/hosts/{id}/edit", "/hosts/{id}/remove"];

fn is_of_a_thing(route: &RouteInfo) -> bool {
    matches!(scope(route.pattern), Scope::Server | Scope::Operation | Scope::Group)
}

fn things_routes() -> impl Iterator<Item = &'static RouteInfo> {
    ROUTES.iter().filter(|route| is_of_a_thing(route))
}

async fn ask(browser: &mut Browser, route: &RouteInfo, things: &Things) -> Answer {
    let path = fill(route.pattern, things);
    if route.method == Method::GET {
        browser.get(&path).await
    } else {
        browser.press(&path, &[]).await
    }
}

/// A page without what differs between any two requests.
fn bare(answer: &Answer) -> String {
    let body = &answer.body;
    let Some((before, rest)) = body.split_once("Reference <code>") else { return body.clone() };
    let after = rest.split_once("</code>").map_or("", |(_, after)| after);
    format!("{before}{after}")
}

#[test]
fn every_route_with_an_id_is_judged_by_its_thing() {
    for route in ROUTES.iter().filter(|route| route.pattern.contains("{id}")) {
        let decided = is_of_a_thing(route) || OF_THE_INSTALLATION.contains(&route.pattern);
        assert!(decided, "{}: whose is it? See src/web/authorise.rs", route.pattern);
        assert_ne!(route.access, Access::Anonymous, "{}", route.pattern);
    }
    assert!(things_routes().count() > 30);
}

#[actix_web::test]
async fn what_is_foreign_is_as_if_it_were_not_there() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut mia = app.person(&mut olga, "mia", "Member").await;
        let shop = Things::new(&app, "shop", 20_001).await;
        let bank = Things::new(&app, "bank", 20_002).await;
        let gone = Things::new(&app, "gone", 20_003).await;
        forget(&app, &gone.server).await;
        assign(&mut olga, &shop, "mia", Role::Owner).await;
        for route in things_routes() {
            let name = format!("{} {}", route.method, route.pattern);
            let unknown = ask(&mut mia, route, &Things::unknown()).await;
            assert_eq!(unknown.status, 404, "{name}");
            for foreign in [&bank, &gone] {
                let answer = ask(&mut mia, route, foreign).await;
                assert_eq!(answer.status, 404, "{name}");
                assert_eq!(bare(&answer), bare(&unknown), "{name}");
            }
        }
        assert_eq!(olga.get(&gone.server.path("")).await.status, 404);
        let deleted = olga.get(&gone.server.path("")).await.body;
        assert!(deleted.contains("gone") && deleted.contains("any more"), "she may know of it");
    })
    .await;
}

#[actix_web::test]
async fn a_role_below_the_route_is_refused_and_one_that_reaches_is_not() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut mia = app.person(&mut olga, "mia", "Member").await;
        let shop = Things::new(&app, "shop", 20_001).await;
        for (role, reaches) in
            [(Role::Reader, Access::Reader), (Role::Contributor, Access::Contributor)]
        {
            assign(&mut olga, &shop, "mia", role).await;
            for route in things_routes() {
                let name = format!("{role:?} {} {}", route.method, route.pattern);
                let is_stream = route.pattern.ends_with("/events");
                if route.access > reaches {
                    assert_eq!(ask(&mut mia, route, &shop).await.status, 403, "{name}");
                } else if route.method == Method::GET && !is_stream {
                    let status = ask(&mut mia, route, &shop).await.status;
                    // 422: the handler was reached, and misses a part of its query.
                    assert!([200, 303, 422].contains(&status), "{name}: {status}");
                }
            }
        }
    })
    .await;
}

#[actix_web::test]
async fn lists_show_to_each_what_they_may_see() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut mia = app.person(&mut olga, "mia", "Member").await;
        let shop = Things::new(&app, "shop", 20_001).await;
        Things::new(&app, "bank", 20_002).await;
        let nothing = mia.get("/servers").await;
        assert!(nothing.status == 200 && nothing.body.contains("No resource group has given you"));
        assert!(mia.get("/groups").await.body.contains("No group is shared with you"));
        assign(&mut olga, &shop, "mia", Role::Reader).await;
        olga.press("/groups", &[("group_name", "bank-two")]).await;
        for path in ["/servers", "/operations", "/groups", "/activity", "/activity.csv"] {
            let page = mia.get(path).await;
            assert!(page.status == 200 && page.body.contains("shop"), "{path}");
            assert!(!page.body.contains("bank"), "{path}");
            assert!(!page.body.contains("/servers/create"), "{path}");
        }
        for path in ["/servers", "/operations", "/groups"] {
            assert!(olga.get(path).await.body.contains("bank"), "{path}");
        }
        assert!(mia.get("/activity").await.body.contains("Join by link"), "her own lines");
        assert!(!mia.get("/activity").await.body.contains("olga joined"));
        for path in ["/hosts", "/users"] {
            assert_eq!(mia.get(path).await.status, 403, "{path}");
        }
        assert!(!mia.get("/groups").await.body.contains("/hosts"), "no link that is refused");
        assert_eq!(mia.press("/groups", &[("group_name", "mine")]).await.status, 403);
    })
    .await;
}

#[actix_web::test]
async fn roles_act_at_once_and_the_last_one_ends_the_session() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut mia = app.person(&mut olga, "mia", "Member").await;
        let shop = Things::new(&app, "shop", 20_001).await;
        let bank = Things::new(&app, "bank", 20_002).await;
        let restart = shop.server.path("/restart");
        assert_eq!(mia.get(&restart).await.status, 404);
        assign(&mut olga, &shop, "mia", Role::Reader).await;
        assert_eq!(mia.get(&restart).await.status, 403);
        assign(&mut olga, &shop, "mia", Role::Contributor).await;
        assert_eq!(mia.get(&restart).await.status, 200);
        assign(&mut olga, &bank, "mia", Role::Reader).await;
        unassign(&app, &mut olga, &shop, "mia").await;
        assert_eq!(mia.get(&restart).await.status, 404);
        assert!(mia.is_signed_in().await, "a role is left");
        unassign(&app, &mut olga, &bank, "mia").await;
        assert!(olga.get("/groups").await.body.contains("sessions were ended"));
        assert!(!mia.is_signed_in().await);
        let log = app.activities().await;
        assert_eq!((log[0].action.as_str(), log[0].detail.as_str()), ("role.remove", "mia"));
    })
    .await;
}

#[actix_web::test]
async fn owners_of_a_group_govern_it_and_nothing_else() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut mia = app.person(&mut olga, "mia", "Member").await;
        let mut rita = app.person(&mut olga, "rita", "Reader").await;
        let shop = Things::new(&app, "shop", 20_001).await;
        assign(&mut olga, &shop, "mia", Role::Owner).await;
        assign(&mut mia, &shop, "rita", Role::Contributor).await;
        assert_eq!(rita.get(&shop.server.path("/delete")).await.status, 200);
        let assign_path = shop.group_path("/assignments");
        for (login, role) in [("nobody", "Reader"), ("rita", "Member"), ("", "Reader")] {
            let refused = mia.press(&assign_path, &[("login", login), ("role", role)]).await;
            assert_eq!(refused.status, 422, "{login} {role}");
        }
        assert_eq!(
            rita.press(&assign_path, &[("login", "rita"), ("role", "Owner")]).await.status,
            403
        );
        assert_eq!(mia.get("/users").await.status, 403);
        let other = format!("/groups/{NOTHING}/assignments");
        assert_eq!(mia.press(&other, &[("login", "mia"), ("role", "Owner")]).await.status, 404);
    })
    .await;
}

#[actix_web::test]
async fn groups_are_made_renamed_and_deleted_when_empty() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = Things::new(&app, "shop", 20_001).await;
        let made = olga.press("/groups", &[("group_name", " Team.A ")]).await;
        assert_eq!(made.status, 303, "{}", made.body);
        let path = made.location().to_owned();
        assert!(olga.get(&path).await.body.contains("team.a"));
        for name in ["team.a", "", "a b"] {
            let refused = olga.press("/groups", &[("group_name", name)]).await;
            assert_eq!(refused.status, 422, "{name}");
        }
        let taken = olga.press(&format!("{path}/rename"), &[("group_name", "shop")]).await;
        assert!(taken.status == 422 && taken.body.contains("already"));
        olga.press(&format!("{path}/rename"), &[("group_name", "team-b")]).await;
        assert!(olga.get("/groups").await.body.contains("team-b"));
        olga.press(&shop.group_path("/delete"), &[]).await;
        assert_eq!(olga.get(&shop.group_path("")).await.status, 200, "it has a server");
        let lock = [("lock_name", "keep"), ("kind", "CanNotDelete"), ("note", "")];
        assert_eq!(olga.press(&format!("{path}/locks"), &lock).await.status, 303);
        olga.press(&format!("{path}/delete"), &[]).await;
        assert!(olga.get(&path).await.body.contains("There is a lock on it"));
        let default = "/groups/00000000-0000-7000-8000-000000000001";
        olga.press(&format!("{default}/delete"), &[]).await;
        assert_eq!(olga.get(default).await.status, 200);
        let page = olga.get(&path).await.body;
        let remove = page.split("/locks/").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        olga.press(&format!("{path}/locks/{remove}"), &[]).await;
        olga.press(&format!("{path}/delete"), &[]).await;
        assert_eq!(olga.get(&path).await.status, 404);
    })
    .await;
}

#[actix_web::test]
async fn an_invitation_brings_a_role_in_one_group_along() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = Things::new(&app, "shop", 20_001).await;
        let form = [
            ("note", "Mia"),
            ("role", "Member"),
            ("group", shop.group.as_str()),
            ("group_role", "Contributor"),
        ];
        assert_eq!(olga.press("/users/invites", &form).await.status, 303);
        let page = olga.get("/users").await.body;
        assert!(page.contains("Contributor in shop"));
        let link = page.split("copy-text\">").nth(1).and_then(|rest| rest.split('<').next());
        let mut mia = app.browser();
        let path = app.path_of(link.unwrap());
        assert_eq!(mia.join(&path, "mia", crate::helpers::PASSWORD).await.status, 303);
        assert_eq!(mia.get(&shop.server.path("/restart")).await.status, 200);
        assert!(olga.get("/users").await.body.contains("Contributor in shop"));
        let wrong = [form[0], form[1], form[2], ("group_role", "Member")];
        assert_eq!(olga.press("/users/invites", &wrong).await.status, 422);
        let wrong = [form[0], form[1], ("group", NOTHING), form[3]];
        assert_eq!(olga.press("/users/invites", &wrong).await.status, 422);
    })
    .await;
}

#[actix_web::test]
async fn a_server_moves_with_its_past_where_the_mover_may() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut mia = app.person(&mut olga, "mia", "Member").await;
        let mut ben = app.person(&mut olga, "ben", "Member").await;
        let shop = Things::new(&app, "shop", 20_001).await;
        let bank = Things::new(&app, "bank", 20_002).await;
        assign(&mut olga, &shop, "mia", Role::Contributor).await;
        assign(&mut olga, &bank, "mia", Role::Reader).await;
        assign(&mut olga, &bank, "ben", Role::Reader).await;
        let (path, to) = (shop.server.path("/group"), [("group", bank.group.as_str())]);
        assert!(!mia.get(&path).await.body.contains(bank.group.as_str()), "no choice of hers");
        assert_eq!(mia.press(&path, &to).await.status, 409);
        assign(&mut olga, &bank, "mia", Role::Contributor).await;
        assert_eq!(mia.press(&path, &[("group", NOTHING)]).await.status, 409);
        assert_eq!(mia.press(&path, &to).await.status, 303);
        let operation = format!("/operations/{}", shop.operation);
        for page in [shop.server.path(""), operation] {
            assert_eq!(ben.get(&page).await.status, 200, "{page}");
        }
        unassign(&app, &mut olga, &bank, "mia").await;
        assert_eq!(mia.get(&shop.server.path("")).await.status, 404);
        assert!(!mia.get("/operations").await.body.contains(shop.operation.as_str()));
    })
    .await;
}
