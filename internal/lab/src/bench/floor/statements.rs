//! The statements of the product's hot path, from the files that the product itself runs.

macro_rules! file {
    ($name:ident = $crate_:literal / $file:literal) => {
        pub(super) const $name: &str =
            include_str!(concat!("../../../../", $crate_, "/src/sql/", $file, ".sql"));
    };
}

/// Each transaction of the orchestrator asks for the time.
pub(super) const NOW: &str = "SELECT now()";
file!(READ_PAGE = "relay" / "read_page");
file!(DELETE = "relay" / "delete_acknowledged");
file!(INSERT_SAGAS = "orchestrator" / "insert_sagas");
file!(ADVANCE_SAGAS = "orchestrator" / "advance_sagas");
file!(GUARD_INSERT = "participant" / "guard_insert");
file!(OPENED = "participant" / "opened");
file!(INVENTORY_LOCK = "inventory" / "lock");
file!(INVENTORY_WRITE = "inventory" / "write");
file!(PAYMENT_LOCK = "payment" / "lock");
file!(PAYMENT_WRITE = "payment" / "write");
file!(SHIPPING_READ = "shipping" / "read");
file!(SHIPPING_INSERT = "shipping" / "insert");
pub(super) const APPEND: &str =
    "INSERT INTO outbox (lane, topic, event_id, key, traceparent, tracestate, baggage,
                             headers, payload)
         SELECT r.lane, r.topic, r.event_id, r.key, r.traceparent, r.tracestate, r.baggage,
                r.headers, r.payload
           FROM unnest($1::smallint[], $2::smallint[], $3::uuid[], $4::bytea[], $5::text[],
                       $6::text[], $7::text[], $8::bytea[], $9::bytea[])
                WITH ORDINALITY AS r(lane, topic, event_id, key, traceparent, tracestate,
                                     baggage, headers, payload, ord)
          ORDER BY r.ord";
pub(super) const CLAIM_KEY: &str =
    "INSERT INTO idempotency_key (user_id, key, fingerprint, order_id)
         VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
pub(super) const OFFERS: &str =
    "SELECT sku, name, price_minor, currency FROM offer WHERE sku = ANY($1)";
pub(super) const INSERT_ORDER: &str =
    "INSERT INTO orders (id, user_id, saga_id, status, total_minor, currency, address_name,
                             street, postal_code, city, country, method, card_token,
                             created_at, updated_at, traceparent)
         VALUES ($1, $2, $3, 'pending', $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
pub(super) const INSERT_LINES: &str =
    "INSERT INTO order_line (order_id, line, sku, name, quantity, price_minor)
         SELECT $1, n.line, n.sku, n.name, n.quantity, n.price_minor
           FROM unnest($2::text[], $3::text[], $4::int[], $5::bigint[])
                WITH ORDINALITY AS n(sku, name, quantity, price_minor, line)";
pub(super) const LOCK_ORDERS: &str =
    "SELECT id, user_id, status, reason, reason_detail, payment_id, shipment_id,
                cancellation_id
           FROM orders WHERE id = ANY($1) ORDER BY id FOR UPDATE";
pub(super) const DECIDE_ORDERS: &str = "UPDATE orders o
            SET status = n.status, reason = n.reason, reason_detail = n.detail,
                payment_id = n.payment_id, shipment_id = n.shipment_id, updated_at = now()
           FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[],
                       $7::uuid[])
             AS n(id, was, status, reason, detail, payment_id, shipment_id)
          WHERE o.id = n.id AND o.status = n.was";
