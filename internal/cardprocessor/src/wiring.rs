use palinode_service::Context;

use crate::rpc;

/// Serves the processor on the context's listener.
///
/// # Errors
/// None today.
pub async fn build(context: Context) -> anyhow::Result<()> {
    let server = context
        .grpc()
        .add_service(rpc::service(context.db().clone()));
    context.serve_grpc(server);
    Ok(())
}
