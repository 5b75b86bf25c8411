//! Pages and their tokens.
//!
//! A token is where its page ended: the sort, a hash of the filters, and the key of the last product, in
//! base64url (RFC 4648). It is not signed: whoever makes one of his own reads what everybody may read.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use palinode_pb::catalog::v1 as pb;
use palinode_rpc::Violations;
use palinode_values::{ProductId, Timestamp};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{category, optional, product};
use crate::domain::{Category, Filter, Key, Listing, Product, Sort, Sought, sort_name};

const PAGE_USUAL: u16 = 50;
const PAGE_MAX: i32 = 200;
/// Of the hash of the filters: enough to tell a mistake.
const HASH_LEN: usize = 8;

/// The list that is asked for.
pub(crate) fn listing(request: &pb::ListProductsRequest) -> Result<Listing, Violations> {
    let mut wrong = Violations::new();
    let sort = match request.sort() {
        pb::ProductSort::Unspecified | pb::ProductSort::Name => Sort::Name,
        pb::ProductSort::NameDescending => Sort::NameDescending,
        pb::ProductSort::Price => Sort::Price,
        pb::ProductSort::PriceDescending => Sort::PriceDescending,
        pb::ProductSort::Newest => Sort::Newest,
    };
    let given = |minor: i64| (minor > 0).then_some(minor);
    let filter = Filter {
        category: optional(request.category_id.clone()),
        sought: Sought::of(&request.query),
        min_price: given(request.min_price_minor),
        max_price: given(request.max_price_minor),
    };
    if let (Some(min), Some(max)) = (filter.min_price, filter.max_price)
        && min > max
    {
        let words = "must be at least min_price_minor, or 0";
        wrong.add("max_price_minor", "OUT_OF_RANGE", words);
    }
    let size = size(&mut wrong, request.page_size);
    let after = match request.page_token.as_str() {
        "" => None,
        token => match read(token, sort, &hash(&filter)) {
            Ok(key) => Some(key),
            Err(Unread::Malformed) => {
                wrong.add("page_token", "INVALID_TOKEN", "must be that of an answer");
                None
            }
            Err(Unread::OfAnother) => {
                let words = "must be that of an answer to the same filters and sort";
                wrong.add("page_token", "OTHER_LIST", words);
                None
            }
        },
    };
    wrong.into_result()?;
    Ok(Listing {
        filter,
        sort,
        after,
        size,
    })
}

fn size(wrong: &mut Violations, size: i32) -> u16 {
    if !(0..=PAGE_MAX).contains(&size) {
        wrong.add("page_size", "OUT_OF_RANGE", "must be 1 to 200");
    }
    match u16::try_from(size) {
        Ok(size @ 1..) => size,
        _ => PAGE_USUAL,
    }
}

/// The page of what was found, which is one more than the page where there is a next one.
pub(crate) fn page(listing: &Listing, mut found: Vec<Product>) -> pb::ListProductsResponse {
    let has_more = found.len() > usize::from(listing.size);
    found.truncate(usize::from(listing.size));
    let last = found.last().filter(|_| has_more);
    let token = last.map(|last| write(listing.sort, &hash(&listing.filter), last));
    pb::ListProductsResponse {
        next_page_token: token.unwrap_or_default(),
        products: found.iter().map(product).collect(),
    }
}

fn hash(filter: &Filter) -> [u8; HASH_LEN] {
    let Filter {
        category,
        sought,
        min_price,
        max_price,
    } = filter;
    let mut hash = Sha256::new();
    for text in [category.as_deref(), sought.as_ref().map(Sought::tsquery)] {
        // none of them holds a zero byte
        hash.update(text.unwrap_or_default());
        hash.update([0]);
    }
    for price in [min_price, max_price] {
        hash.update(price.unwrap_or_default().to_be_bytes());
    }
    let hash = hash.finalize();
    let mut start = [0; HASH_LEN];
    start.copy_from_slice(&hash[..HASH_LEN]);
    start
}

fn letter(sort: Sort) -> u8 {
    match sort {
        Sort::Name => b'n',
        Sort::NameDescending => b'N',
        Sort::Price => b'p',
        Sort::PriceDescending => b'P',
        Sort::Newest => b'a',
    }
}

fn write(sort: Sort, hash: &[u8; HASH_LEN], last: &Product) -> String {
    let mut bytes = vec![letter(sort)];
    bytes.extend(hash);
    bytes.extend(last.id.0.as_bytes());
    match sort {
        Sort::Name | Sort::NameDescending => bytes.extend(sort_name(&last.name).as_bytes()),
        Sort::Price | Sort::PriceDescending => bytes.extend(last.price.minor.to_be_bytes()),
        Sort::Newest => bytes.extend(last.created_at.timestamp_micros().to_be_bytes()),
    }
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Why a token is not taken.
enum Unread {
    Malformed,
    /// Of a list with other filters, or sorted otherwise.
    OfAnother,
}

fn read(token: &str, sort: Sort, hash: &[u8; HASH_LEN]) -> Result<Key, Unread> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token);
    let bytes = bytes.map_err(|_not_base64| Unread::Malformed)?;
    let (of, rest) = bytes.split_first().ok_or(Unread::Malformed)?;
    let (hashed, rest) = rest
        .split_first_chunk::<HASH_LEN>()
        .ok_or(Unread::Malformed)?;
    let (id, rest) = rest.split_first_chunk::<16>().ok_or(Unread::Malformed)?;
    if *of != letter(sort) || hashed != hash {
        return Err(Unread::OfAnother);
    }
    let id = ProductId(Uuid::from_bytes(*id));
    let number = || {
        let bytes = <[u8; 8]>::try_from(rest).map_err(|_wrong_len| Unread::Malformed)?;
        Ok(i64::from_be_bytes(bytes))
    };
    Ok(match sort {
        Sort::Name | Sort::NameDescending => {
            let name = std::str::from_utf8(rest).map_err(|_not_text| Unread::Malformed)?;
            // the database takes no zero bytes
            if name.contains('\0') {
                return Err(Unread::Malformed);
            }
            Key::Name(name.to_owned(), id)
        }
        Sort::Price | Sort::PriceDescending => Key::Price(number()?, id),
        Sort::Newest => {
            let at = Timestamp::from_timestamp_micros(number()?);
            Key::Age(at.filter(is_stored).ok_or(Unread::Malformed)?, id)
        }
    })
}

/// Whether PostgreSQL has such a moment.
fn is_stored(at: &Timestamp) -> bool {
    (0..=253_402_300_799).contains(&at.timestamp())
}

/// The category before the page, and the page's size.
pub(crate) fn categories_page(
    request: &pb::ListCategoriesRequest,
) -> Result<(Option<Category>, u16), Violations> {
    let mut wrong = Violations::new();
    let size = size(&mut wrong, request.page_size);
    let after = match request.page_token.as_str() {
        "" => None,
        token => {
            let after = read_category(token);
            if after.is_none() {
                wrong.add("page_token", "INVALID_TOKEN", "must be that of an answer");
            }
            after
        }
    };
    wrong.into_result()?;
    Ok((after, size))
}

fn read_category(token: &str) -> Option<Category> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    // an id has no slash, a name may
    let (id, name) = text.split_once('/')?;
    let (id, name) = (id.to_owned(), name.to_owned());
    (!text.contains('\0')).then_some(Category { id, name })
}

/// The page of what was found, which is one more than the page where there is a next one.
pub(crate) fn categories(mut found: Vec<Category>, size: u16) -> pb::ListCategoriesResponse {
    let has_more = found.len() > usize::from(size);
    found.truncate(usize::from(size));
    let last = found.last().filter(|_| has_more);
    let token = last.map(|last| {
        let text = format!("{}/{}", last.id, last.name);
        BASE64_URL_SAFE_NO_PAD.encode(text)
    });
    pb::ListCategoriesResponse {
        next_page_token: token.unwrap_or_default(),
        categories: found.into_iter().map(category).collect(),
    }
}
