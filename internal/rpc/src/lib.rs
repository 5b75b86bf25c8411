//! gRPC: channels, the server's layers, and the one mapping of errors to a status
