//! Contracts: code and descriptors generated from proto/
