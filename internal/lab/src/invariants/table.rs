use palinode_db::Area;

use super::Invariant;

/// A temporary table, and where its rows come from.
pub(super) struct Fact {
    pub(super) area: Area,
    pub(super) table: &'static str,
    pub(super) columns: &'static str,
    pub(super) select: &'static str,
}

/// What is known of the services' own tables.
pub(super) const FACTS: &[Fact] = &[
    Fact {
        area: Area::Order,
        table: "orders",
        columns: "id uuid, saga_id uuid, user_id text, status text, method text, card_token text, \
                  country text, total bigint, payment_id uuid, shipment_id uuid, \
                  names_somebody boolean",
        select: "SELECT id, saga_id, user_id, status, method, card_token, country, total_minor, \
                 payment_id, shipment_id, \
                 address_name <> 'deleted' OR street <> 'deleted' OR postal_code <> 'deleted' \
                 OR coalesce(card_token <> 'deleted', false) FROM orders",
    },
    Fact {
        area: Area::Order,
        table: "deleted_user",
        columns: "user_id text, is_over boolean",
        select: "SELECT user_id, next_look_at IS NULL FROM deleted_user",
    },
    Fact {
        area: Area::Order,
        table: "order_line",
        columns: "order_id uuid, sku text, quantity bigint",
        select: "SELECT order_id, sku, quantity::bigint FROM order_line",
    },
    Fact {
        area: Area::Order,
        table: "cancellation",
        columns: "id uuid, order_id uuid, saga_id uuid, state text",
        select: "SELECT id, order_id, saga_id, state FROM cancellation",
    },
    Fact {
        area: Area::Saga,
        table: "saga",
        columns: "id uuid, plan text, state text, business_key text",
        select: "SELECT id, plan_name, state, business_key FROM saga \
                 WHERE plan_name IN ('place-order', 'cancel-order')",
    },
    Fact {
        area: Area::Inventory,
        table: "stock",
        columns: "sku text, on_hand bigint, held bigint, sold bigint",
        select: "SELECT sku, on_hand, held, sold FROM stock",
    },
    Fact {
        area: Area::Inventory,
        table: "put_in",
        columns: "sku text, pieces bigint",
        select: "SELECT sku, sum(delta)::bigint FROM movement GROUP BY sku",
    },
    Fact {
        area: Area::Inventory,
        table: "reservation",
        columns: "id uuid, order_id uuid, state text",
        select: "SELECT id, order_id, state FROM reservation",
    },
    Fact {
        area: Area::Inventory,
        table: "reservation_line",
        columns: "reservation_id uuid, sku text, quantity bigint",
        select: "SELECT reservation_id, sku, quantity FROM reservation_line",
    },
    Fact {
        area: Area::Payment,
        table: "payment",
        columns: "id uuid, order_id uuid, user_id text, method text, amount bigint, state text, \
                  charge_key uuid, refunded bigint, refunding bigint",
        select: "SELECT id, order_id, user_id, method, amount_minor, state, charge_key, \
                 refunded_minor, refunding_minor FROM payment",
    },
    Fact {
        area: Area::Payment,
        table: "refund",
        columns: "payment_id uuid, is_of_saga boolean, refunds bigint, amount bigint",
        select: "SELECT payment_id, requested_by LIKE 'saga:%', count(*), sum(amount_minor)::bigint \
                 FROM refund WHERE state = 'done' GROUP BY 1, 2",
    },
    Fact {
        area: Area::Payment,
        table: "wallet",
        columns: "user_id text, balance bigint, is_closed boolean",
        select: "SELECT user_id, balance_minor, closed_at IS NOT NULL FROM wallet",
    },
    Fact {
        area: Area::Payment,
        table: "account",
        columns: "account text, currency text, balance bigint",
        select: "SELECT account, currency, sum(amount_minor)::bigint FROM ledger_entry \
                 GROUP BY account, currency",
    },
    Fact {
        area: Area::Payment,
        table: "uneven_transfer",
        columns: "id uuid, rest bigint",
        select: "SELECT transfer_id, sum(amount_minor)::bigint FROM ledger_entry \
                 GROUP BY transfer_id HAVING sum(amount_minor) <> 0",
    },
    Fact {
        area: Area::Payment,
        table: "taken",
        columns: "payment_id uuid, kind text, transfers bigint, amount bigint",
        select: "SELECT payment_id, kind, count(DISTINCT transfer_id), \
                 (sum(amount_minor) FILTER (WHERE amount_minor > 0))::bigint \
                 FROM ledger_entry WHERE payment_id IS NOT NULL GROUP BY payment_id, kind",
    },
    Fact {
        area: Area::Payment,
        table: "owed_call",
        columns: "payment_id uuid, kind text",
        select: "SELECT payment_id, kind FROM card_intent",
    },
    Fact {
        area: Area::Shipping,
        table: "shipment",
        columns: "id uuid, order_id uuid, state text",
        select: "SELECT id, order_id, state FROM shipment",
    },
    Fact {
        area: Area::CardProcessor,
        table: "processed",
        columns: "key text, kind text, charge_key text, outcome text, amount bigint",
        select: "SELECT idempotency_key, kind, charge_key, outcome, amount_minor FROM processed",
    },
];

/// What is known of the platform's tables, in every database with an outbox.
pub(super) const OUTBOX_FACTS: &[Fact] = &[
    Fact {
        area: Area::Saga,
        table: "left_over",
        columns: "area text, what text, count bigint",
        select: "SELECT '{area}'::text, 'outbox'::text, outbox_pending() \
                 UNION ALL SELECT '{area}', 'outbox_parked', count(*) FROM outbox_parked \
                 UNION ALL SELECT '{area}', 'consumer_parked', count(*) FROM consumer_parked",
    },
    Fact {
        area: Area::Saga,
        table: "pending_guard",
        columns: "area text, saga_id uuid, step text",
        select: "SELECT '{area}'::text, saga_id, step FROM saga_guard \
                 WHERE act = 'pending' OR comp = 'pending'",
    },
];

/// Everything that must hold.
pub const INVARIANTS: &[Invariant] = &[
    Invariant {
        name: "sagas-end",
        holds: "every saga is completed or compensated, and belongs to an order or a cancellation, and each of those has one",
        sql: "SELECT format('saga %s of %s %s is %s', s.id, coalesce(w.plan, s.plan), coalesce(w.id::text, s.business_key), coalesce(s.state, 'missing'))
                FROM saga s
                FULL JOIN (SELECT 'place-order' AS plan, id, saga_id FROM orders
                           UNION ALL SELECT 'cancel-order', id, saga_id FROM cancellation) w
                  ON w.saga_id = s.id AND w.plan = s.plan
               WHERE s.state IS NULL OR w.id IS NULL OR s.state NOT IN ('completed', 'compensated')
               LIMIT $1",
    },
    Invariant {
        name: "orders-agree-with-sagas",
        holds: "an order is rejected if its saga is compensated, else confirmed or cancelled; a cancellation is carried out if its saga is completed, refused if it is compensated",
        sql: "SELECT words FROM (
                SELECT format('order %s is %s, its saga is %s', o.id, o.status, s.state) AS words
                  FROM orders o JOIN saga s ON s.id = o.saga_id
                 WHERE (o.status, s.state) NOT IN (('confirmed', 'completed'), ('cancelled', 'completed'), ('rejected', 'compensated'))
                UNION ALL
                SELECT format('cancellation %s is %s, its saga is %s', c.id, c.state, s.state)
                  FROM cancellation c JOIN saga s ON s.id = c.saga_id
                 WHERE (c.state, s.state) NOT IN (('carried-out', 'completed'), ('refused', 'compensated'))
                UNION ALL
                SELECT format('order %s is %s, %s cancellations were carried out', o.id, o.status, count(c.id))
                  FROM orders o LEFT JOIN cancellation c ON c.order_id = o.id AND c.state = 'carried-out'
                 GROUP BY o.id, o.status
                HAVING count(c.id) <> CASE o.status WHEN 'cancelled' THEN 1 ELSE 0 END) found
               LIMIT $1",
    },
    Invariant {
        name: "confirmed-is-paid-and-shipped",
        holds: "a confirmed order has its one payment, taken over its total and given back by nobody but staff, and its one shipment",
        sql: "SELECT format('order %s: payment %s over %s, shipment %s', o.id, coalesce(p.state, 'missing'), p.amount, coalesce(h.id::text, 'missing'))
                FROM orders o
                LEFT JOIN payment p ON p.id = o.payment_id AND p.order_id = o.id
                LEFT JOIN shipment h ON h.id = o.shipment_id AND h.order_id = o.id AND h.state <> 'recalled'
               WHERE o.status = 'confirmed'
                 AND (coalesce(p.state, 'missing') NOT IN ('captured', 'refunded') OR EXISTS (SELECT FROM refund r WHERE r.payment_id = p.id AND r.is_of_saga) OR p.amount <> o.total OR p.method <> o.method OR h.id IS NULL)
               LIMIT $1",
    },
    Invariant {
        name: "rejected-leaves-nothing",
        holds: "a rejected order has no shipment, no money taken that was not given back, no stock",
        sql: "SELECT format('order %s: payment %s, shipment %s, reservation %s', o.id, p.state, h.id, r.state)
                FROM orders o
                LEFT JOIN payment p ON p.order_id = o.id
                LEFT JOIN shipment h ON h.order_id = o.id
                LEFT JOIN reservation r ON r.order_id = o.id
               WHERE o.status = 'rejected'
                 AND (h.id IS NOT NULL OR p.state NOT IN ('declined', 'refunded') OR r.state <> 'released')
               LIMIT $1",
    },
    Invariant {
        name: "cancelled-is-taken-back",
        holds: "a cancelled order has its parcel recalled, its money given back and its goods on the shelf",
        sql: "SELECT format('order %s: payment %s, shipment %s, reservation %s', o.id, p.state, h.state, r.state)
                FROM orders o
                LEFT JOIN payment p ON p.order_id = o.id
                LEFT JOIN shipment h ON h.order_id = o.id
                LEFT JOIN reservation r ON r.order_id = o.id
               WHERE o.status = 'cancelled'
                 AND (h.state IS DISTINCT FROM 'recalled' OR p.state IS DISTINCT FROM 'refunded' OR r.state IS DISTINCT FROM 'restocked')
               LIMIT $1",
    },
    Invariant {
        name: "captured-has-shipment",
        holds: "every payment that is captured, or that staff gave back while its order stays confirmed, has exactly one shipment that was not recalled, every other one has none",
        sql: "SELECT format('payment %s is %s, its order %s has %s shipments', p.id, p.state, p.order_id, count(h.id))
                FROM payment p
                LEFT JOIN orders o ON o.id = p.order_id
                LEFT JOIN shipment h ON h.order_id = p.order_id AND h.state <> 'recalled'
               GROUP BY p.id, p.state, p.order_id, o.status
              HAVING count(h.id) <> CASE WHEN p.state = 'captured' OR (p.state = 'refunded' AND o.status = 'confirmed') THEN 1 ELSE 0 END
               LIMIT $1",
    },
    Invariant {
        name: "nothing-twice",
        holds: "an order has at most one reservation, one payment and one shipment",
        sql: "SELECT format('order %s: %s %ss', order_id, count(*), what)
                FROM (SELECT order_id, 'payment' AS what FROM payment
                      UNION ALL SELECT order_id, 'shipment' FROM shipment
                      UNION ALL SELECT order_id, 'reservation' FROM reservation) effect
               GROUP BY order_id, what
              HAVING count(*) > 1 OR NOT EXISTS (SELECT FROM orders o WHERE o.id = order_id)
               LIMIT $1",
    },
    Invariant {
        name: "ledger-sums-to-zero",
        holds: "the entries of the ledger sum to zero, in all and in each transfer",
        sql: "SELECT words FROM (
                SELECT format('transfer %s leaves %s', id, rest) AS words FROM uneven_transfer
                UNION ALL
                SELECT format('all of %s sums to %s', currency, sum(balance)) FROM account
                 GROUP BY currency HAVING sum(balance) <> 0) found
               LIMIT $1",
    },
    Invariant {
        name: "wallets-follow-the-ledger",
        holds: "the balance of a wallet is the sum of its entries, and not below zero",
        sql: "SELECT format('wallet of %s: balance %s, entries %s', coalesce(w.user_id, a.account), w.balance, a.balance)
                FROM wallet w
                FULL JOIN (SELECT * FROM account WHERE account LIKE 'wallet:%') a ON a.account = 'wallet:' || w.user_id
               WHERE coalesce(w.balance, 0) <> coalesce(a.balance, 0) OR w.balance < 0
               LIMIT $1",
    },
    Invariant {
        name: "deleted-users-are-let-go",
        holds: "who was deleted has a closed wallet, a closed wallet holds nothing, and no order names him once his orders are looked at no more",
        sql: "SELECT words FROM (
                SELECT format('user %s is deleted, his wallet is %s', d.user_id, CASE WHEN w.user_id IS NULL THEN 'missing' ELSE 'open' END) AS words
                  FROM deleted_user d LEFT JOIN wallet w USING (user_id)
                 WHERE w.is_closed IS NOT TRUE
                UNION ALL
                SELECT format('the closed wallet of %s holds %s', user_id, balance) FROM wallet WHERE is_closed AND balance <> 0
                UNION ALL
                SELECT format('order %s names %s, who is deleted', o.id, o.user_id)
                  FROM orders o JOIN deleted_user d USING (user_id) WHERE d.is_over AND o.names_somebody) found
               LIMIT $1",
    },
    Invariant {
        name: "payments-follow-the-ledger",
        holds: "a payment is taken once over its amount if it was captured; what went back, once for each refund that is done, is what it says, and no more than it took",
        sql: "SELECT format('payment %s over %s is %s, %s back, %s asked for: taken %s times (%s), given back %s times (%s), by %s refunds (%s)', p.id, p.amount, p.state, p.refunded, p.refunding, coalesce(c.transfers, 0), c.amount, coalesce(b.transfers, 0), b.amount, coalesce(r.refunds, 0), r.amount)
                FROM payment p
                LEFT JOIN taken c ON c.payment_id = p.id AND c.kind = 'charge'
                LEFT JOIN taken b ON b.payment_id = p.id AND b.kind = 'refund'
                LEFT JOIN (SELECT payment_id, sum(refunds) AS refunds, sum(amount) AS amount FROM refund GROUP BY payment_id) r ON r.payment_id = p.id
               WHERE coalesce(c.transfers, 0) <> CASE WHEN p.state IN ('captured', 'refunded') THEN 1 ELSE 0 END
                  OR (p.state = 'refunded') <> (p.refunded = p.amount) OR p.refunded NOT BETWEEN 0 AND p.amount OR p.refunding <> 0
                  OR coalesce(b.transfers, 0) <> coalesce(r.refunds, 0)
                  OR c.amount <> p.amount OR coalesce(b.amount, 0) <> p.refunded OR coalesce(r.amount, 0) <> p.refunded
               LIMIT $1",
    },
    Invariant {
        name: "card-processor-agrees",
        holds: "the processor has charged, and paid back, exactly what payments say: no charge without a captured or refunded payment",
        sql: "SELECT format('charge %s over %s (%s paid back), payment %s is %s (%s back)', c.key, c.amount, coalesce(r.amount, 0), p.id, p.state, p.refunded)
                FROM (SELECT * FROM processed WHERE kind = 'charge' AND outcome = 'approved') c
                FULL JOIN (SELECT * FROM payment WHERE method = 'card' AND state <> 'declined') p ON p.charge_key::text = c.key
                LEFT JOIN (SELECT charge_key, sum(amount) AS amount FROM processed WHERE kind = 'refund' AND outcome = 'approved' GROUP BY charge_key) r ON r.charge_key = c.key
               WHERE c.key IS NULL OR p.id IS NULL OR c.amount <> p.amount OR coalesce(r.amount, 0) <> p.refunded
                  OR p.state NOT IN ('captured', 'refunded') OR (p.state = 'refunded') <> (coalesce(r.amount, 0) = p.amount)
               LIMIT $1",
    },
    Invariant {
        name: "stock-adds-up",
        holds: "for each SKU, what was put in = available + held + sold, none below zero",
        sql: "SELECT format('%s: put in %s, on hand %s, held %s, sold %s', s.sku, coalesce(i.pieces, 0), s.on_hand, s.held, s.sold)
                FROM stock s LEFT JOIN put_in i USING (sku)
               WHERE coalesce(i.pieces, 0) <> s.on_hand + s.sold OR s.held < 0 OR s.on_hand < s.held OR s.sold < 0
               LIMIT $1",
    },
    Invariant {
        name: "no-hold-left",
        holds: "no stock is held any more",
        sql: "SELECT words FROM (
                SELECT format('%s: %s held', sku, held) AS words FROM stock WHERE held <> 0
                UNION ALL
                SELECT format('reservation %s of order %s is %s', id, order_id, state) FROM reservation
                 WHERE state NOT IN ('released', 'committed', 'restocked')) found
               LIMIT $1",
    },
    Invariant {
        name: "stock-follows-orders",
        holds: "what is sold of each SKU is what confirmed orders have of it, each by its own reservation",
        sql: "SELECT words FROM (
                SELECT format('%s: sold %s, in confirmed orders %s', s.sku, s.sold, coalesce(o.pieces, 0)) AS words
                  FROM stock s
                  LEFT JOIN (SELECT l.sku, sum(l.quantity) AS pieces FROM order_line l JOIN orders o ON o.id = l.order_id
                              WHERE o.status = 'confirmed' GROUP BY l.sku) o USING (sku)
                 WHERE s.sold <> coalesce(o.pieces, 0)
                UNION ALL
                SELECT format('order %s is %s, its reservation is %s', o.id, o.status, coalesce(r.state, 'missing'))
                  FROM orders o LEFT JOIN reservation r ON r.order_id = o.id
                 WHERE (o.status = 'confirmed') <> (coalesce(r.state, 'missing') = 'committed')
                    OR (o.status = 'cancelled') <> (coalesce(r.state, 'missing') = 'restocked')
                UNION ALL
                SELECT format('order %s: %s of %s reserved, %s ordered', r.order_id, h.quantity, coalesce(h.sku, l.sku), l.quantity)
                  FROM reservation r
                  JOIN reservation_line h ON h.reservation_id = r.id
                  LEFT JOIN order_line l ON l.order_id = r.order_id AND l.sku = h.sku
                 WHERE h.quantity IS DISTINCT FROM l.quantity) found
               LIMIT $1",
    },
    Invariant {
        name: "doomed-is-rejected",
        holds: "no order is confirmed that nobody could pay, hold or carry",
        sql: "SELECT format('order %s of %s to %s is confirmed', o.id, o.user_id, o.country)
                FROM orders o
               WHERE o.status = 'confirmed'
                 AND (o.country = 'AQ' OR o.card_token = 'tok_declined' OR (o.user_id = 'bob' AND o.method = 'wallet' AND o.total > 50)
                      OR EXISTS (SELECT FROM order_line l WHERE l.order_id = o.id
                                  AND (l.sku = 'sold-out' OR (l.sku = 'vase-ming' AND l.quantity > 3))))
               LIMIT $1",
    },
    Invariant {
        name: "nothing-left-over",
        holds: "outboxes are empty, nothing is parked, no call to the card processor and no step is pending",
        sql: "SELECT words FROM (
                SELECT format('%s: %s rows in %s', area, count, what) AS words FROM left_over WHERE count <> 0
                UNION ALL SELECT format('%s: step %s of saga %s is pending', area, step, saga_id) FROM pending_guard
                UNION ALL SELECT format('a %s of payment %s is owed', kind, payment_id) FROM owed_call) found
               LIMIT $1",
    },
];
