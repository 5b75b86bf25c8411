//! Attribute keys, defined once. Source: OpenTelemetry semantic conventions 1.37.

/// The saga a span belongs to.
pub const SAGA_ID: &str = "saga.id";
/// Plan name and version, `place-order@1`.
pub const SAGA_PLAN: &str = "saga.plan";
/// Step of the plan.
pub const SAGA_STEP: &str = "saga.step";
/// `forward` or `backward`.
pub const SAGA_DIRECTION: &str = "saga.direction";
/// How a saga ended.
pub const SAGA_OUTCOME: &str = "saga.outcome";
/// Why a reply changed nothing: it was late, a duplicate or in contradiction.
pub const SAGA_REPLY_IGNORED: &str = "saga.reply.ignored";
/// What the guard did with a command: `ran`, `replayed`, `refused`.
pub const GUARD_RESULT: &str = "guard.result";
/// Always `kafka`.
pub const MESSAGING_SYSTEM: &str = "messaging.system";
/// Topic.
pub const MESSAGING_DESTINATION: &str = "messaging.destination.name";
/// The message's id, `ce_id`.
pub const MESSAGING_MESSAGE_ID: &str = "messaging.message.id";
/// The saga id, where a message belongs to one.
pub const MESSAGING_CONVERSATION_ID: &str = "messaging.message.conversation_id";
/// `create` or `process`.
pub const MESSAGING_OPERATION: &str = "messaging.operation.name";
/// How many messages shared the transaction.
pub const MESSAGING_BATCH_COUNT: &str = "messaging.batch.message_count";
/// HTTP method.
pub const HTTP_METHOD: &str = "http.request.method";
/// HTTP status.
pub const HTTP_STATUS: &str = "http.response.status_code";
/// Path of the request.
pub const URL_PATH: &str = "url.path";
/// Full name of a gRPC method.
pub const RPC_METHOD: &str = "rpc.method";
/// gRPC status, as a string.
pub const RPC_STATUS: &str = "rpc.response.status_code";
