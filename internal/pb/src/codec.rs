//! The codec of every generated server and client: prost's, and a look at what is decoded.
//!
//! Invariant: no handler sees a request that breaks a rule of its proto. Answers have no rules, so a
//! client's decoding costs nothing more.

use std::marker::PhantomData;
use std::sync::Arc;

use prost::Message;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic::{Code, Status};
use tonic_prost::{ProstDecoder, ProstEncoder};

use crate::validate::{Invalid, Validate};

/// Prost's codec with [`Validate`] behind its decoder.
#[derive(Debug, Clone)]
pub struct Checked<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Checked<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for Checked<T, U>
where
    T: Message + Send + 'static,
    U: Message + Validate + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = CheckedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        CheckedDecoder(ProstDecoder::default())
    }
}

/// A decoder that refuses what breaks a rule.
#[derive(Debug, Clone, Default)]
pub struct CheckedDecoder<U>(ProstDecoder<U>);

impl<U: Message + Validate + Default> Decoder for CheckedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let Some(message) = self.0.decode(buffer)? else {
            return Ok(None);
        };
        message.validate().map_err(refused)?;
        Ok(Some(message))
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

/// Its source tells the violations: a server answers them in its own way (`palinode_rpc::Server`
/// does).
fn refused(invalid: Invalid) -> Status {
    let mut status = Status::new(Code::InvalidArgument, invalid.to_string());
    status.set_source(Arc::new(invalid));
    status
}
