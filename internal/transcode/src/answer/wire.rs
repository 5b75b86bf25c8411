//! Reading the wire format, field by field.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::Error;

/// A value as it is on the wire.
#[derive(Debug, Clone, Copy)]
pub(super) enum Raw<'b> {
    /// A varint, or 4 or 8 bytes.
    Bits(WireType, u64),
    Bytes(&'b [u8]),
}

/// A field of a message: its place among the fields of the shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'b> {
    pub(super) field: usize,
    pub(super) raw: Raw<'b>,
}

/// The bytes of one message.
#[derive(Debug, Clone)]
pub(super) enum Split<'b> {
    One(&'b [u8]),
    /// It came in parts.
    Many(Vec<&'b [u8]>),
}

impl<'b> Split<'b> {
    pub(super) fn parts(&self) -> impl Iterator<Item = &'b [u8]> {
        let (one, many) = match self {
            Self::One(part) => (Some(*part), &[][..]),
            Self::Many(parts) => (None, &parts[..]),
        };
        one.into_iter().chain(many.iter().copied())
    }
}

impl<'b> Raw<'b> {
    pub(super) fn bits(self) -> u64 {
        match self {
            Self::Bits(_, bits) => bits,
            Self::Bytes(_) => 0,
        }
    }

    pub(super) fn bytes(self) -> &'b [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Bits(..) => &[],
        }
    }
}

/// Takes the next field; groups, which no proto3 message has, are passed by.
pub(super) fn next<'b>(rest: &mut &'b [u8]) -> Result<Option<(u32, Raw<'b>)>, Error> {
    while !rest.is_empty() {
        let (number, kind) = decode_key(rest)?;
        match kind {
            WireType::StartGroup | WireType::EndGroup => {
                skip_field(kind, number, rest, DecodeContext::default())?;
            }
            WireType::Varint
            | WireType::SixtyFourBit
            | WireType::ThirtyTwoBit
            | WireType::LengthDelimited => return Ok(Some((number, value(kind, rest)?))),
        }
    }
    Ok(None)
}

/// Takes a value of this type.
pub(super) fn value<'b>(kind: WireType, rest: &mut &'b [u8]) -> Result<Raw<'b>, Error> {
    Ok(match kind {
        WireType::Varint => Raw::Bits(kind, decode_varint(rest)?),
        WireType::SixtyFourBit => Raw::Bits(kind, u64::from_le_bytes(fixed(rest)?)),
        WireType::ThirtyTwoBit => Raw::Bits(kind, u64::from(u32::from_le_bytes(fixed(rest)?))),
        WireType::LengthDelimited => {
            let length = usize::try_from(decode_varint(rest)?).map_err(|_| Error::CutOff)?;
            let (bytes, after) = rest.split_at_checked(length).ok_or(Error::CutOff)?;
            *rest = after;
            Raw::Bytes(bytes)
        }
        WireType::StartGroup | WireType::EndGroup => return Err(Error::CutOff),
    })
}

fn fixed<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Error> {
    let (bytes, after) = rest.split_first_chunk::<N>().ok_or(Error::CutOff)?;
    *rest = after;
    Ok(*bytes)
}

/// The lower half: what longer numbers are cut to.
#[expect(clippy::cast_possible_truncation, reason = "as the format says")]
pub(super) fn low(bits: u64) -> u32 {
    bits as u32
}

pub(super) fn zigzag32(bits: u64) -> i32 {
    let bits = low(bits);
    (bits >> 1).cast_signed() ^ -(bits & 1).cast_signed()
}

pub(super) fn zigzag64(bits: u64) -> i64 {
    (bits >> 1).cast_signed() ^ -(bits & 1).cast_signed()
}
