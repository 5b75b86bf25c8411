//! The one place that puts the catalogue's parts together.

use std::time::Duration;

use palinode_db::purge;
use palinode_pb::catalog::v1::catalog_service_server::CatalogServiceServer;
use palinode_rpc::Door;
use palinode_service::Context;

use crate::app::Desk;
use crate::rpc::Handlers;
use crate::store::creations;

/// A creation that is repeated later is another one, whose SKU is taken.
const KEYS_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Of one statement.
const KEYS_MAX: i64 = 1_000;

/// Serves products and categories.
///
/// # Errors
/// The relay cannot be started.
pub async fn build(context: Context) -> anyhow::Result<()> {
    let handlers = Handlers {
        desk: Desk {
            db: context.db().clone(),
            clock: context.clock.clone(),
            doorbell: context.doorbell.clone(),
        },
    };
    let server = context
        .grpc(Door::Authorized(context.authorizer()?))
        .add_service(CatalogServiceServer::new(handlers));
    context.serve_grpc(server);
    let (db, stop) = (context.db().clone(), context.tasks.stop_token());
    context.spawn("keys", async move {
        let step = || creations::forget_keys(&db, KEYS_KEPT, KEYS_MAX);
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            never = purge("idempotency keys", KEYS_MAX.unsigned_abs(), step) => match never {},
        }
    });
    context.spawn_relay()
}
