use palinode_values::ErrorCode;

/// Why shipping says no. Each has a page in `docs/errors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// No carrier delivers to the country.
    NoCarrier,
    /// The carrier is not the one that the order was quoted.
    CarrierChanged,
    /// The order has a shipment of another saga.
    AlreadyShipped,
    /// The parcel is handed over: it cannot be called back.
    ShipmentDispatched,
    /// The parcel is called back: it cannot be handed over.
    ShipmentRecalled,
    /// Another saga has called the parcel back.
    AlreadyRecalled,
    /// No shipment of this id.
    ShipmentNotFound,
    /// No step of shipping is ever taken back.
    NotCompensatable,
}

impl Reason {
    /// Every reason.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 8] = [
        Self::NoCarrier,
        Self::CarrierChanged,
        Self::AlreadyShipped,
        Self::ShipmentDispatched,
        Self::ShipmentRecalled,
        Self::AlreadyRecalled,
        Self::ShipmentNotFound,
        Self::NotCompensatable,
    ];

    /// The name that callers see.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoCarrier => "NO_CARRIER",
            Self::CarrierChanged => "CARRIER_CHANGED",
            Self::AlreadyShipped => "ALREADY_SHIPPED",
            Self::ShipmentDispatched => "SHIPMENT_DISPATCHED",
            Self::ShipmentRecalled => "SHIPMENT_RECALLED",
            Self::AlreadyRecalled => "ALREADY_RECALLED",
            Self::ShipmentNotFound => "SHIPMENT_NOT_FOUND",
            Self::NotCompensatable => "NOT_COMPENSATABLE",
        }
    }

    /// How a caller should react.
    pub(crate) fn code(self) -> ErrorCode {
        match self {
            Self::NoCarrier
            | Self::AlreadyShipped
            | Self::ShipmentDispatched
            | Self::ShipmentRecalled
            | Self::AlreadyRecalled
            | Self::NotCompensatable => ErrorCode::Refused,
            Self::CarrierChanged => ErrorCode::Conflict,
            Self::ShipmentNotFound => ErrorCode::NotFound,
        }
    }
}

/// A reason, and what it is about in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    /// For people: lowercase, no full stop.
    pub(crate) detail: String,
}
