//! The own account, users and invitations.

use crate::helpers::{PASSWORD, TestApp, each_database};
use chrono::Duration;
use pgflex::domain::account::User;

async fn user(app: &TestApp, login: &str) -> User {
    app.state.store.user_by_login(login).await.unwrap().unwrap().0
}

#[actix_web::test]
async fn a_new_password_ends_the_other_sessions() {
    each_database(async |app| {
        let mut here = app.set_up_owner().await;
        let mut there = app.browser();
        there.sign_in("olga", PASSWORD).await;
        let change = [
            ("current_password", "wrong"),
            ("new_password", "a new and better sentence"),
            ("new_password_again", "a new and better sentence"),
        ];
        let refused = here.press("/account/password", &change).await;
        assert!(refused.status == 422 && refused.body.contains("e-current_password"));
        let change = [("current_password", PASSWORD), change[1], change[2]];
        assert_eq!(here.press("/account/password", &change).await.status, 303);
        assert!(here.get("/account").await.body.contains("One other session was ended."));
        assert!(!there.is_signed_in().await);
        assert_eq!(there.sign_in("olga", PASSWORD).await.status, 422);
        assert_eq!(there.sign_in("olga", "a new and better sentence").await.status, 303);
    })
    .await;
}

#[actix_web::test]
async fn sessions_are_listed_and_ended_only_by_their_owner() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut rita = app.person(&mut olga, "rita", "Reader").await;
        let id = user(&app, "olga").await.id;
        let mut other = app.browser();
        other.sign_in("olga", PASSWORD).await;
        let sessions = app.state.store.sessions_of(&id, app.state.now()).await.unwrap();
        assert_eq!(sessions.len(), 2);
        let foreign = format!("/account/sessions/{}/end", sessions[0].id);
        assert_eq!(rita.press(&foreign, &[]).await.status, 404);
        assert!(other.is_signed_in().await);
        assert_eq!(olga.press("/account/sessions/end-others", &[]).await.status, 303);
        assert!(!other.is_signed_in().await && olga.is_signed_in().await);
    })
    .await;
}

#[actix_web::test]
async fn an_invitation_works_once_until_it_expires_or_is_revoked() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let path = olga.invite("Rita from support", "Reader").await;
        assert!(!olga.get("/users").await.body.contains("/invite/"), "shown once");
        let mut rita = app.browser();
        let taken = rita.join(&path, "olga", PASSWORD).await;
        assert!(taken.status == 422 && taken.body.contains("This login is taken."));
        assert_eq!(rita.join(&path, "rita", PASSWORD).await.status, 303);
        assert_eq!(user(&app, "rita").await.role.key(), "Reader");
        assert_eq!(app.browser().get(&path).await.status, 404);

        let old = olga.invite("late", "Reader").await;
        app.wind(Duration::hours(72));
        assert_eq!(app.browser().get(&old).await.status, 404);
        olga.sign_in("olga", PASSWORD).await;
        let revoked = olga.invite("changed my mind", "Owner").await;
        let open = app.state.store.open_invites(app.state.now()).await.unwrap();
        olga.press(&format!("/users/invites/{}/revoke", open[0].id), &[]).await;
        assert_eq!(app.browser().get(&revoked).await.status, 404);
    })
    .await;
}

#[actix_web::test]
async fn a_new_role_or_a_disabled_account_counts_at_once() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut rita = app.person(&mut olga, "rita", "Owner").await;
        let id = user(&app, "rita").await.id;
        assert_eq!(rita.get("/users").await.status, 200);
        olga.press(&format!("/users/{id}/role"), &[("role", "Reader")]).await;
        assert!(!rita.is_signed_in().await, "her sessions were ended");
        rita.sign_in("rita", PASSWORD).await;
        let refused = rita.get("/users").await;
        assert!(refused.status == 403 && refused.body.contains("Your role is Reader."));
        olga.press(&format!("/users/{id}/disable"), &[]).await;
        assert!(!rita.is_signed_in().await);
        assert_eq!(rita.sign_in("rita", PASSWORD).await.status, 422);
        olga.press(&format!("/users/{id}/enable"), &[]).await;
        assert_eq!(rita.sign_in("rita", PASSWORD).await.status, 303);
    })
    .await;
}

#[actix_web::test]
async fn the_last_owner_stays_one() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let id = user(&app, "olga").await.id;
        for (path, pairs) in [("disable", vec![]), ("role", vec![("role", "Reader")])] {
            olga.press(&format!("/users/{id}/{path}"), &pairs).await;
            assert!(olga.get("/users").await.body.contains("olga is the last owner"));
        }
        assert!(!user(&app, "olga").await.disabled);
        app.person(&mut olga, "otto", "Owner").await;
        olga.press(&format!("/users/{id}/role"), &[("role", "Reader")]).await;
        assert_eq!(user(&app, "olga").await.role.key(), "Reader");
    })
    .await;
}

/// One owner disables, another changes the role, neither knows of the other: both count.
#[actix_web::test]
async fn a_new_role_does_not_enable_a_disabled_account() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        app.person(&mut olga, "rita", "Reader").await;
        let rita = user(&app, "rita").await.id;
        let contributor = Some(pgflex::domain::account::Role::Contributor);
        for (role, disabled) in [(None, Some(true)), (contributor, None)] {
            let mut tx = app.state.store.begin_write(app.state.now()).await.unwrap();
            assert!(tx.set_user_access(&rita, role, disabled).await.unwrap());
            tx.commit(pgflex::store::Record::Nothing("test")).await.unwrap();
        }
        let rita = user(&app, "rita").await;
        assert!(rita.disabled && rita.role.key() == "Contributor");
    })
    .await;
}

/// Else somebody who was put out comes back by a link they kept.
#[actix_web::test]
async fn invitations_of_an_owner_who_is_no_more_do_not_work() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut otto = app.person(&mut olga, "otto", "Owner").await;
        let (his, hers) =
            (otto.invite("me again", "Owner").await, olga.invite("x", "Reader").await);
        let id = user(&app, "otto").await.id;
        olga.press(&format!("/users/{id}/disable"), &[]).await;
        assert!(olga.get("/users").await.body.contains("The invitations that they had made"));
        assert_eq!(app.browser().get(&his).await.status, 404);
        assert_eq!(app.browser().get(&hers).await.status, 200);
    })
    .await;
}

/// Two owners who demote each other at the same moment must not both succeed.
#[actix_web::test]
async fn two_owners_cannot_demote_each_other() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        app.person(&mut olga, "otto", "Owner").await;
        let (olga, otto) = (user(&app, "olga").await, user(&app, "otto").await);
        let demote = async |user: &User| {
            let mut tx = app.state.store.begin_write(app.state.now()).await.unwrap();
            let reader = pgflex::domain::account::Role::Reader;
            let done = tx.set_user_access(&user.id, Some(reader), None).await.unwrap();
            tx.commit(pgflex::store::Record::Nothing("test")).await.unwrap();
            done
        };
        let (first, second) = futures_util::future::join(demote(&olga), demote(&otto)).await;
        assert!(first != second, "exactly one may");
    })
    .await;
}
