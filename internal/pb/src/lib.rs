//! Contracts: code and descriptors generated from `proto/`.
//!
//! Owns nothing but the generated modules and the descriptor pool they came from. The pool is the
//! one source of reflection, of the REST routes and of the message types that stored plans name.
#![allow(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code; the comments stand in proto/"
)]

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

/// The encoded `FileDescriptorSet` of every contract, imports and comments included.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The decoded descriptors of every contract.
pub static DESCRIPTORS: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("protox wrote these descriptors")
});

// `palinode.gift.v1` is the module `palinode::gift::v1`: a new area needs no line here.
include!(concat!(env!("OUT_DIR"), "/contracts.rs"));

pub use palinode::*;
