use palinode_values::{ProductId, Timestamp};

use super::Sought;

/// How a list is ordered; what is equal by it is ordered by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Name,
    NameDescending,
    Price,
    PriceDescending,
    Newest,
}

/// What products of a list have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) category: Option<String>,
    /// Words that all have to be there.
    pub(crate) sought: Option<Sought>,
    /// Minor units, included.
    pub(crate) min_price: Option<i64>,
    /// Minor units, included.
    pub(crate) max_price: Option<i64>,
}

/// Where a product stands in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// By [`super::sort_name`].
    Name(String, ProductId),
    /// Minor units.
    Price(i64, ProductId),
    /// When it was created.
    Age(Timestamp, ProductId),
}

/// A page that is asked for: what stands after `after`, `size` at the most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) filter: Filter,
    pub(crate) sort: Sort,
    /// Of the kind that the sort has.
    pub(crate) after: Option<Key>,
    pub(crate) size: u16,
}
