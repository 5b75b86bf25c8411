use std::time::Duration;

use palinode_auth::{Role, Verifier};
use palinode_lab::seed::{USERS, password};
use palinode_testkit::eventually;
use palinode_values::Clock;
use serde_json::json;
use sqlx::Row;

use crate::rig::Rig;

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn who_registers_and_who_is_seeded_signs_in_over_http() {
    let rig = Rig::start(async |_| {}).await;
    let body = json!({
        "email": "carol@example.org", "userName": "carol", "password": "carol-likes-tea",
    });
    let registered = rig.gateway.post("/v1/users", &body, Some("k1")).await;
    let registered = registered.unwrap();
    assert_eq!(registered.status, 201);
    let carol = registered.success().unwrap();
    let id = carol["userId"].as_str().unwrap();

    let keys = rig.gateway.get("/.well-known/jwks.json").await.unwrap();
    let verifier = Verifier::new(Clock::system());
    let keys = String::from_utf8(keys.body.to_vec()).unwrap();
    verifier.set_keys(&keys).unwrap();
    let sign_in = async |user: &str| {
        let body = json!({"login": user, "password": password(user)});
        let session = rig.gateway.post("/v1/sessions", &body, None).await;
        let session = session.unwrap().success().unwrap();
        let token = session["accessToken"].as_str().unwrap();
        verifier.verify(token).unwrap()
    };
    assert_eq!(sign_in("carol").await.subject.as_str(), id);
    for (user, roles) in USERS {
        let principal = sign_in(user).await;
        assert_eq!(principal.subject.as_str(), user);
        let expect: Vec<_> = [&[Role::Customer], roles].concat();
        assert_eq!(principal.roles, expect, "{user}");
    }
    let mut outbox = rig.connect(palinode_db::Area::Identity).await;
    eventually(LIMIT, "others are told of carol", async || {
        let row = sqlx::query("SELECT outbox_pending()");
        let row = row.fetch_one(&mut outbox).await.unwrap();
        (row.get::<i64, _>(0) == 0).then_some(())
    })
    .await;
    rig.stop_services().await;
}
