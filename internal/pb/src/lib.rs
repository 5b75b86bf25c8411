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

macro_rules! module {
    ($name:ident, $package:literal) => {
        pub mod $name {
            pub mod v1 {
                tonic::include_proto!($package);
            }
        }
    };
}

/// The platform's own contracts.
pub mod palinode {
    module!(inventory, "palinode.inventory.v1");
    module!(order, "palinode.order.v1");
    module!(payment, "palinode.payment.v1");
    module!(saga, "palinode.saga.v1");
    module!(shipping, "palinode.shipping.v1");
}
/// The contract of the card processor.
pub mod cardprocessor {
    pub mod v1 {
        tonic::include_proto!("cardprocessor.v1");
    }
}
/// Shared types of the field.
pub mod google {
    pub mod api {
        tonic::include_proto!("google.api");
    }
    pub mod r#type {
        tonic::include_proto!("google.r#type");
    }
}

pub use palinode::{inventory, order, payment, saga, shipping};
