//! The demo catalogue: what can be ordered, how much there is of it, and who has money.

use anyhow::Context;
use palinode_auth::Role;
use palinode_catalog::{Seed as Product, SeedCategory};
use palinode_db::Area;
use palinode_identity::Seed;
use palinode_values::{Clock, Currency, Money, ProductId};

use crate::prepare::connect;

/// Something to order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Article {
    /// Stock keeping unit.
    pub sku: &'static str,
    /// Name.
    pub name: &'static str,
    /// Price of one piece in cents.
    pub price_minor: i64,
    /// Pieces that are put into stock once.
    pub stock: i64,
    /// Id of its category.
    pub category: &'static str,
    /// What it is.
    pub description: &'static str,
}

const fn article(sku: &'static str, name: &'static str, price_minor: i64, stock: i64) -> Article {
    Article {
        sku,
        name,
        price_minor,
        stock,
        category: "",
        description: "",
    }
}

impl Article {
    const fn is(self, category: &'static str, description: &'static str) -> Self {
        Self {
            category,
            description,
            ..self
        }
    }
}

/// Sold, and never in stock.
pub const SOLD_OUT: &str = "sold-out";
/// Few pieces: a hundred of them are always too many.
pub const RARE: &str = "vase-ming";
/// What sound orders are made of.
pub const COMMON: [&str; 4] = ["mug-blue", "mug-red", "teapot", "tea-tray"];

/// The product that an article is, the same at each start.
///
/// # Panics
/// `sku` is no SKU.
#[must_use]
pub fn product_id_of(sku: &str) -> ProductId {
    palinode_catalog::product_id_of(&sku.parse().expect("an article has a SKU"))
}

/// Id and name of what articles are sorted into.
pub const CATEGORIES: [(&str, &str); 5] = [
    ("antiques", "Antiques"),
    ("cups", "Cups and mugs"),
    ("machines", "Machines"),
    ("pots", "Pots"),
    ("table", "On the table"),
];

/// Everything that can be ordered.
pub const ARTICLES: [Article; 6] = [
    article("mug-blue", "Blue mug", 1_290, 1_000_000).is(
        "cups",
        "Stoneware, glazed in cobalt blue. Holds 0.3 l and goes into the dishwasher.",
    ),
    article("mug-red", "Red mug", 1_290, 1_000_000).is(
        "cups",
        "Stoneware, glazed in iron red. Holds 0.3 l and goes into the dishwasher.",
    ),
    article("teapot", "Teapot", 3_450, 1_000_000).is(
        "pots",
        "For six cups, with a strainer in the spout. The lid stays on when it pours.",
    ),
    article("tea-tray", "Tea tray", 1_900, 1_000_000).is(
        "table",
        "Oiled ash, with a rim. Carries a teapot and four mugs.",
    ),
    article(RARE, "Ming vase", 890_000, 3).is(
        "antiques",
        "Blue and white porcelain. There are three of them, and no more will come.",
    ),
    article(SOLD_OUT, "Samovar", 14_900, 0).is(
        "machines",
        "Keeps three litres of water hot. Sold out since it was listed.",
    ),
];

/// Whose wallet never suffices: it holds half a euro.
pub const POOR: &str = "bob";
/// Wallets of shoppers in the demo: enough that one row is not what every payment waits for.
pub const SHOPPERS: u32 = 16;
/// What the rich have, in cents: some thousands of orders each.
const RICH_MINOR: i64 = 99_000_000;
const POOR_MINOR: i64 = 50;

/// The name of a shopper of the demo.
#[must_use]
pub fn shopper(number: u32) -> String {
    format!("shopper-{:02}", number % SHOPPERS + 1)
}

/// Users and what is put into their wallets once, in cents.
#[must_use]
pub fn wallets() -> Vec<(String, i64)> {
    let rich = (0..SHOPPERS).map(shopper).chain(["alice".to_owned()]);
    rich.map(|user| (user, RICH_MINOR))
        .chain([(POOR.to_owned(), POOR_MINOR)])
        .collect()
}

/// Who can sign in, and what they are trusted with beside being customers.
pub const USERS: [(&str, &[Role]); 5] = [
    ("alice", &[]),
    (POOR, &[]),
    ("staff", &[Role::Staff]),
    ("operator", &[Role::Operator]),
    ("admin", &[Role::Admin]),
];

/// The password of a user who is seeded. Everybody knows it: a stack that others reach has none of them.
#[must_use]
pub fn password(user: &str) -> String {
    format!("{user}-likes-tea")
}

/// Puts the catalogue and the users in, once: repeated, it adds neither stock nor money.
///
/// # Errors
/// A database does not answer.
pub async fn seed(server: &str) -> anyhow::Result<()> {
    // five tasks at once are large, and so would be whatever waits for them
    let all = async {
        tokio::try_join!(
            products(server),
            order_products(server),
            stock(server),
            money(server),
            users(server)
        )
    };
    Box::pin(all).await?;
    Ok(())
}

async fn products(server: &str) -> anyhow::Result<()> {
    let categories = CATEGORIES.map(|(id, name)| SeedCategory {
        id: id.to_owned(),
        name: name.to_owned(),
    });
    let products = ARTICLES
        .iter()
        .map(|article| {
            Ok(Product {
                sku: article.sku.parse()?,
                name: article.name.to_owned(),
                description: article.description.to_owned(),
                category: article.category.to_owned(),
                price: Money::new(article.price_minor, Currency::EUR),
                picture_url: format!("/pictures/{}.webp", article.sku),
                initial_stock: article.stock,
            })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let db = connect(server, Area::Catalog).await?;
    palinode_catalog::seed(&db, &Clock::system(), &categories, &products)
        .await
        .context("seeding products")?;
    db.close().await;
    Ok(())
}

/// Orders can be placed before the events of the catalogue have come.
async fn order_products(server: &str) -> anyhow::Result<()> {
    let products: Vec<palinode_order::Product> = ARTICLES
        .iter()
        .map(|article| {
            Ok(palinode_order::Product {
                sku: article.sku.parse()?,
                name: article.name.to_owned(),
                price: Money::new(article.price_minor, Currency::EUR),
            })
        })
        .collect::<anyhow::Result<_>>()?;
    let db = connect(server, Area::Order).await?;
    palinode_order::seed(&db, &products)
        .await
        .context("seeding products")?;
    db.close().await;
    Ok(())
}

async fn stock(server: &str) -> anyhow::Result<()> {
    let stock = ARTICLES
        .iter()
        .map(|article| Ok((article.sku.parse()?, article.stock)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let db = connect(server, Area::Inventory).await?;
    palinode_inventory::seed(&db, &stock)
        .await
        .context("seeding stock")?;
    db.close().await;
    Ok(())
}

async fn money(server: &str) -> anyhow::Result<()> {
    let wallets = wallets()
        .into_iter()
        .map(|(user, minor)| Ok((user.parse()?, minor)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let db = connect(server, Area::Payment).await?;
    palinode_payment::seed(&db, &wallets)
        .await
        .context("seeding wallets")?;
    db.close().await;
    Ok(())
}

async fn users(server: &str) -> anyhow::Result<()> {
    let users = USERS
        .iter()
        .map(|(user, roles)| {
            Ok(Seed {
                id: user.parse()?,
                user_name: (*user).to_owned(),
                email: format!("{user}@example.org"),
                password: password(user),
                roles: roles.to_vec(),
            })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let db = connect(server, Area::Identity).await?;
    palinode_identity::seed(&db, &users)
        .await
        .context("seeding users")?;
    db.close().await;
    Ok(())
}
