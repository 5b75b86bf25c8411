use palinode_rpc::Door;
use palinode_service::Context;

use crate::rpc;

/// Serves the processor on the context's listener.
///
/// # Errors
/// None today.
pub async fn build(context: Context) -> anyhow::Result<()> {
    let server = context
        // somebody else's service, played here: it has no tokens of ours
        .grpc(Door::Open)
        .add_service(rpc::service(context.db().clone()));
    context.serve_grpc(server);
    Ok(())
}
