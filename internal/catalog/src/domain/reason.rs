use palinode_values::ErrorCode;

/// What went wrong, as callers read it. Each has a page in `docs/errors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A product has this SKU, or had it.
    SkuTaken,
    /// The idempotency key came with another product before.
    KeyReused,
    /// No such product, or one that was deleted.
    ProductNotFound,
    /// The product was changed since it was read.
    RevisionChanged,
    /// No such category.
    CategoryNotFound,
    /// Products are in this category.
    CategoryInUse,
}

impl Reason {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 6] = [
        Self::SkuTaken,
        Self::KeyReused,
        Self::ProductNotFound,
        Self::RevisionChanged,
        Self::CategoryNotFound,
        Self::CategoryInUse,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::SkuTaken => "SKU_TAKEN",
            Self::KeyReused => "IDEMPOTENCY_KEY_REUSED",
            Self::ProductNotFound => "PRODUCT_NOT_FOUND",
            Self::RevisionChanged => "REVISION_CHANGED",
            Self::CategoryNotFound => "CATEGORY_NOT_FOUND",
            Self::CategoryInUse => "CATEGORY_IN_USE",
        }
    }

    pub(crate) fn code(self) -> ErrorCode {
        match self {
            Self::SkuTaken => ErrorCode::AlreadyExists,
            Self::KeyReused | Self::RevisionChanged => ErrorCode::Conflict,
            Self::ProductNotFound | Self::CategoryNotFound => ErrorCode::NotFound,
            Self::CategoryInUse => ErrorCode::Refused,
        }
    }

    /// What the caller is told.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::SkuTaken => "a product has this SKU, or had it",
            Self::KeyReused => "the idempotency key came with another product before",
            Self::ProductNotFound => "there is no such product",
            Self::RevisionChanged => "the product was changed since: read it again",
            Self::CategoryNotFound => "there is no such category",
            Self::CategoryInUse => "there are products in this category",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_reason_has_a_page() {
        let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        for reason in Reason::ALL {
            let page = pages.join(format!("{}.md", reason.as_str()));
            let text = std::fs::read_to_string(&page).unwrap_or_default();
            assert!(
                text.starts_with(&format!("# {}", reason.as_str())),
                "{}",
                page.display()
            );
        }
    }
}
