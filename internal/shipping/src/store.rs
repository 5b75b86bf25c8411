//! The only room with SQL.

use std::collections::BTreeMap;

use palinode_db::{Db, Error, Tx};
use palinode_values::{OrderId, SagaId, ShipmentId, Sku};
use uuid::Uuid;

use crate::domain::{Address, Carrier, Country, Existing, Item, Shipment, Standing, State};

/// The carriers of `countries`; a country without one is left out.
///
/// No lock is taken: a carrier that changes meanwhile changes after whatever is booked here.
pub(crate) async fn carriers(
    tx: &mut Tx,
    countries: &[&Country],
) -> Result<BTreeMap<Country, Carrier>, Error> {
    if countries.is_empty() {
        return Ok(BTreeMap::new());
    }
    let codes: Vec<&str> = countries.iter().map(|country| country.as_str()).collect();
    let rows = sqlx::query!(
        "SELECT country, name, version FROM carrier WHERE country = ANY($1)",
        &codes as &[&str],
    )
    .fetch_all(tx.conn())
    .await?;
    let carrier = |name, version| Carrier { name, version };
    Ok(rows
        .into_iter()
        .map(|row| (Country::named(&row.country), carrier(row.name, row.version)))
        .collect())
}

/// The shipments of `orders`. What is read of them never changes, so no lock is taken: two
/// transactions that ship one order meet at its unique key.
pub(crate) async fn of_orders(
    tx: &mut Tx,
    orders: &[OrderId],
) -> Result<BTreeMap<OrderId, Existing>, Error> {
    if orders.is_empty() {
        return Ok(BTreeMap::new());
    }
    let orders: Vec<Uuid> = orders.iter().map(|order| order.0).collect();
    let rows = sqlx::query!(
        "SELECT id, order_id, saga_id FROM shipment WHERE order_id = ANY($1)",
        &orders,
    )
    .fetch_all(tx.conn())
    .await?;
    let existing = rows.into_iter().map(|row| {
        let existing = Existing {
            id: ShipmentId(row.id),
            saga: SagaId(row.saga_id),
        };
        (OrderId(row.order_id), existing)
    });
    Ok(existing.collect())
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
    let items = || {
        shipments
            .iter()
            .flat_map(|s| (1..).zip(&s.items).map(|item| (s.id, item)))
    };
    let item_ids: Vec<Uuid> = items().map(|(id, _)| id.0).collect();
    let positions: Vec<i32> = items().map(|(_, (position, _))| position).collect();
    let skus: Vec<&str> = items().map(|(_, (_, item))| item.sku.as_str()).collect();
    let quantities: Vec<i32> = items().map(|(_, (_, item))| item.quantity).collect();
    sqlx::query!(
        "WITH made AS (
           INSERT INTO shipment (id, order_id, saga_id, state, carrier, name, street, postal_code,
                                 city, country)
           SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[],
                                $6::text[], $7::text[], $8::text[], $9::text[], $10::text[])
         )
         INSERT INTO shipment_item (shipment_id, position, sku, quantity)
         SELECT * FROM unnest($11::uuid[], $12::int[], $13::text[], $14::int[])",
        &ids,
        &orders,
        &sagas,
        &text(|s| s.state.as_str()) as &[&str],
        &text(|s| &s.carrier) as &[&str],
        &text(|s| &s.address.name) as &[&str],
        &text(|s| &s.address.street) as &[&str],
        &text(|s| &s.address.postal_code) as &[&str],
        &text(|s| &s.address.city) as &[&str],
        &text(|s| s.address.country.as_str()) as &[&str],
        &item_ids,
        &positions,
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
    let rows = sqlx::query!(
        "SELECT id, order_id, state, recalled_by FROM shipment
          WHERE id = ANY($1) ORDER BY id FOR UPDATE",
        &ids,
    )
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
    let written = sqlx::query!(
        "UPDATE shipment s SET state = n.state, recalled_by = n.recalled_by, updated_at = now()
           FROM unnest($1::uuid[], $2::text[], $3::uuid[]) AS n(id, state, recalled_by)
          WHERE s.id = n.id AND s.state = 'arranged'",
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
        r#"SELECT s.order_id, s.saga_id, s.state, s.recalled_by, s.carrier, s.name, s.street,
                  s.postal_code, s.city, s.country, s.created_at,
                  ARRAY(SELECT i.sku FROM shipment_item i
                         WHERE i.shipment_id = s.id ORDER BY i.position) AS "skus!",
                  ARRAY(SELECT i.quantity FROM shipment_item i
                         WHERE i.shipment_id = s.id ORDER BY i.position) AS "quantities!"
             FROM shipment s
            WHERE s.id = $1"#,
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
