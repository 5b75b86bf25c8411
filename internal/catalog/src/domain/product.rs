use palinode_values::{Money, ProductId, Sku, Timestamp};

/// Of one piece, in minor units: a hundred lines of a thousand pieces each have to fit into 64 bits.
pub(crate) const PRICE_MINOR_MAX: i64 = 1_000_000_000_000;

/// Something that can be ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Product {
    pub(crate) id: ProductId,
    pub(crate) sku: Sku,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) category: Option<String>,
    /// Of one piece.
    pub(crate) price: Money,
    /// Empty: none.
    pub(crate) picture_url: String,
    /// Counts its changes, from 1.
    pub(crate) revision: i64,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// A product that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) sku: Sku,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) category: Option<String>,
    pub(crate) price: Money,
    pub(crate) picture_url: String,
    /// Pieces that its stock begins with.
    pub(crate) initial_stock: i64,
}

/// What is to be different about a product; `None`: as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    /// `Some(None)`: none any more.
    pub(crate) category: Option<Option<String>>,
    pub(crate) price: Option<Money>,
    pub(crate) picture_url: Option<String>,
}

impl Change {
    /// The product as it will be; `None`, when nothing about it is different.
    pub(crate) fn of(&self, product: &Product) -> Option<Product> {
        let mut changed = product.clone();
        let Self {
            name,
            description,
            category,
            price,
            picture_url,
        } = self.clone();
        changed.name = name.unwrap_or(changed.name);
        changed.description = description.unwrap_or(changed.description);
        changed.category = category.unwrap_or(changed.category);
        changed.price = price.unwrap_or(changed.price);
        changed.picture_url = picture_url.unwrap_or(changed.picture_url);
        (changed != *product).then_some(changed)
    }
}

/// Products of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Category {
    /// Such as `kitchen`.
    pub(crate) id: String,
    pub(crate) name: String,
}
