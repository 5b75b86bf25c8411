//! Contracts: code and descriptors generated from `proto/`.
//!
//! Owns the generated modules, the descriptor pool they came from, and the rules of requests. The pool
//! is the one source of reflection, of the REST routes and of the message types that stored plans name.
//! Rooms: `validate` (rules, and what breaks them), `codec` (what runs them on every request).
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

// generated code names this crate as others do
extern crate self as palinode_pb;

pub mod codec;
pub mod validate;

// `palinode.gift.v1` is the module `palinode::gift::v1`: a new area needs no line here.
include!(concat!(env!("OUT_DIR"), "/contracts.rs"));
include!(concat!(env!("OUT_DIR"), "/validation.rs"));

pub use palinode::*;
