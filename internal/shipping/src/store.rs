//! The only room with SQL.

use std::collections::BTreeMap;

use palinode_db::{Db, Error, Tx};
use palinode_values::{OrderId, SagaId, ShipmentId, Sku};
use uuid::Uuid;

use crate::domain::{Address, Carrier, Country, Existing, Item, Shipment, Standing, State};

/// What commands are decided upon, beside what they may move on.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// A country without a carrier is left out.
    pub(crate) carriers: BTreeMap<Country, Carrier>,
    pub(crate) existing: BTreeMap<OrderId, Existing>,
}

/// The carriers of `countries`, and what `orders` have already.
///
/// No lock is taken: a carrier that changes meanwhile changes after whatever is booked here; what is
/// read of a shipment never changes, and two transactions that ship one order meet at its unique key.
pub(crate) async fn read(
    tx: &mut Tx,
    countries: &[&Country],
    orders: &[OrderId],
) -> Result<Known, Error> {
    if countries.is_empty() && orders.is_empty() {
        return Ok(Known::default());
    }
    let codes: Vec<&str> = countries.iter().map(|country| country.as_str()).collect();
    let orders: Vec<Uuid> = orders.iter().map(|order| order.0).collect();
    let rows = sqlx::query_file!("src/sql/read.sql", &codes as &[&str], &orders)
        .fetch_all(tx.conn())
        .await?;
    let mut known = Known::default();
    for row in rows {
        if let (Some(country), Some(name), Some(version)) = (row.country, row.name, row.version) {
            let carrier = Carrier { name, version };
            known.carriers.insert(Country::named(&country), carrier);
        }
        if let (Some(id), Some(order), Some(saga)) = (row.id, row.order_id, row.saga_id) {
            let (id, saga) = (ShipmentId(id), SagaId(saga));
            known.existing.insert(OrderId(order), Existing { id, saga });
        }
    }
    Ok(known)
}

/// Writes new shipments with their items.
///
/// # Errors
/// `Constraint`: another transaction has just shipped one of the orders; done again, the batch
/// sees it.
pub(crate) async fn insert(tx: &mut Tx, shipments: &[&Shipment]) -> Result<(), Error> {
    if shipments.is_empty() {
        return Ok(());
    }
    // by order id, or two batches wait for each other at the unique key
    let mut shipments = shipments.to_vec();
    shipments.sort_by_key(|shipment| shipment.order);
    let text = |field: fn(&Shipment) -> &str| -> Vec<&str> {
        shipments.iter().map(|shipment| field(shipment)).collect()
    };
    let ids: Vec<Uuid> = shipments.iter().map(|s| s.id.0).collect();
    let orders: Vec<Uuid> = shipments.iter().map(|s| s.order.0).collect();
    let sagas: Vec<Uuid> = shipments.iter().map(|s| s.saga.0).collect();
    let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
    let (mut skus, mut quantities) = (Vec::new(), Vec::new());
    for shipment in &shipments {
        firsts.push(i32::try_from(skus.len() + 1).unwrap_or(i32::MAX));
        for item in &shipment.items {
            skus.push(item.sku.as_str());
            quantities.push(item.quantity);
        }
        lasts.push(i32::try_from(skus.len()).unwrap_or(i32::MAX));
    }
    sqlx::query_file!(
        "src/sql/insert.sql",
        &ids,
        &orders,
        &text(|s| s.user.as_str()) as &[&str],
        &sagas,
        &text(|s| s.state.as_str()) as &[&str],
        &text(|s| &s.carrier) as &[&str],
        &text(|s| &s.address.name) as &[&str],
        &text(|s| &s.address.street) as &[&str],
        &text(|s| &s.address.postal_code) as &[&str],
        &text(|s| &s.address.city) as &[&str],
        &text(|s| s.address.country.as_str()) as &[&str],
        &firsts,
        &lasts,
        &skus as &[&str],
        &quantities,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Locks shipments in the order of their ids, and tells how they stand. Those that are not there
/// do not come back.
pub(crate) async fn lock(tx: &mut Tx, ids: &[ShipmentId]) -> Result<Vec<Standing>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_file!("src/sql/lock.sql", &ids)
        .fetch_all(tx.conn())
        .await?;
    let standing = rows.into_iter().map(|row| {
        Ok(Standing {
            id: ShipmentId(row.id),
            order: OrderId(row.order_id),
            state: state(row.id, &row.state, row.recalled_by)?,
        })
    });
    standing.collect()
}

/// Moves shipments that the transaction holds on from `arranged`, each once.
pub(crate) async fn move_on(tx: &mut Tx, moved: &[Standing]) -> Result<(), Error> {
    if moved.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = moved.iter().map(|standing| standing.id.0).collect();
    let states: Vec<&str> = moved.iter().map(|s| s.state.as_str()).collect();
    let sagas: Vec<Option<Uuid>> = moved
        .iter()
        .map(|standing| standing.state.recalled_by().map(|saga| saga.0))
        .collect();
    let written = sqlx::query_file!(
        "src/sql/move_on.sql",
        &ids,
        &states as &[&str],
        &sagas as &[Option<Uuid>],
    )
    .execute(tx.conn())
    .await?;
    if written.rows_affected() != moved.len() as u64 {
        let why = "a held shipment is not arranged any more";
        return Err(Error::inconsistent("shipment", "state", "batch", why));
    }
    Ok(())
}

fn state(id: Uuid, name: &str, recalled_by: Option<Uuid>) -> Result<State, Error> {
    State::from_stored(name, recalled_by.map(SagaId))
        .ok_or_else(|| Error::inconsistent("shipment", "state", id, name))
}

/// A shipment with its items.
pub(crate) async fn shipment(db: &Db, id: ShipmentId) -> Result<Option<Shipment>, Error> {
    let row = sqlx::query!(
        "SELECT order_id, user_id, saga_id, state, recalled_by, carrier, name, street, postal_code, city,
                country, skus, quantities, created_at
           FROM shipment WHERE id = $1",
        id.0,
    )
    .fetch_optional(db.pool())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let bad = |column, why: &str| Error::inconsistent("shipment", column, id, why);
    let item = |(sku, quantity): (String, i32)| {
        let sku: Sku = sku.parse().map_err(|_no_sku| bad("items", &sku))?;
        Ok(Item { sku, quantity })
    };
    let items = row.skus.into_iter().zip(row.quantities).map(item);
    Ok(Some(Shipment {
        id,
        order: OrderId(row.order_id),
        user: row
            .user_id
            .parse()
            .map_err(|_no_id| bad("user_id", &row.user_id))?,
        saga: SagaId(row.saga_id),
        state: state(id.0, &row.state, row.recalled_by)?,
        carrier: row.carrier,
        address: Address {
            name: row.name,
            street: row.street,
            postal_code: row.postal_code,
            city: row.city,
            country: Country::named(&row.country),
        },
        items: items.collect::<Result<_, Error>>()?,
        created_at: row.created_at,
    }))
}
