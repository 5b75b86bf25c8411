//! The one place that puts identity's parts together.

use anyhow::Context as _;
use palinode_pb::identity::v1::identity_service_server::IdentityServiceServer;
use palinode_rpc::{Authorizer, Door};
use palinode_service::Context;

use crate::app::{Desk, Passwords, Ring, Upkeep, first_admin};
use crate::rpc::Handlers;
use crate::{config, convert};

/// Serves accounts, sessions and keys.
///
/// # Errors
/// The database does not answer, the settings of the first administrator do not fit, or the relay cannot
/// be started.
pub async fn build(context: Context) -> anyhow::Result<()> {
    let desk = Desk {
        db: context.db().clone(),
        clock: context.clock.clone(),
        doorbell: context.doorbell.clone(),
        passwords: Passwords::new(&config::Passwords::default())?,
        ring: Ring::default(),
    };
    // before the first caller asks
    let ring = desk.ring.turn(&desk.db).await;
    ring.context("there are no signing keys")?;
    let settings = &context.config;
    if let (Some(email), Some(password)) = (&settings.first_admin, &settings.first_admin_password) {
        let registration = convert::first_admin(email, password.expose())?;
        let made = first_admin(&desk, &registration).await;
        made.context("there is no first administrator")?;
    }
    let handlers = Handlers {
        desk: desk.clone(),
        service_secret: settings.service_secret.clone(),
    };
    let authorizer = Authorizer::new(context.clock.clone())?;
    authorizer.set_keys(&desk.ring.publish())?;
    let server = context
        .grpc(Door::Authorized(authorizer.clone()))
        .add_service(IdentityServiceServer::new(handlers));
    context.serve_grpc(server);
    let (upkeep, stop) = (Upkeep { desk, authorizer }, context.tasks.stop_token());
    context.spawn("upkeep", async move {
        upkeep.run(stop).await;
        Ok(())
    });
    context.spawn_relay()
}
