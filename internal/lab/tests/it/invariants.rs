use std::time::Duration;

use palinode_db::Area;
use palinode_lab::Backing;
use palinode_lab::invariants::{INVARIANTS, check};
use palinode_testkit::eventually;
use serde_json::{Value as Json, json};

use crate::rig::{Rig, card, connect, mugs, wallet};

/// A wrong that is done to a table, and who must see it.
struct Wrong {
    area: Area,
    table: &'static str,
    done: &'static str,
    seen_by: &'static [&'static str],
}

const WRONGS: &[Wrong] = &[
    Wrong {
        area: Area::Inventory,
        table: "reservation",
        done: "UPDATE reservation SET state = 'committed' WHERE state = 'restocked'",
        seen_by: &["cancelled-is-taken-back", "stock-follows-orders"],
    },
    Wrong {
        area: Area::Order,
        table: "cancellation",
        done: "UPDATE cancellation SET state = 'refused', reason = 'NO'",
        seen_by: &["orders-agree-with-sagas"],
    },
    Wrong {
        area: Area::Saga,
        table: "saga",
        done: "UPDATE saga SET state = 'running' WHERE state = 'completed'",
        seen_by: &["sagas-end", "orders-agree-with-sagas"],
    },
    Wrong {
        area: Area::Order,
        table: "orders",
        done: "UPDATE orders SET payment_id = id WHERE status = 'confirmed'",
        seen_by: &["confirmed-is-paid-and-shipped"],
    },
    Wrong {
        area: Area::Shipping,
        table: "shipment",
        done: "INSERT INTO shipment SELECT (jsonb_populate_record(s, jsonb_build_object('id', gen_random_uuid()))).* FROM shipment s LIMIT 1",
        seen_by: &["nothing-twice"],
    },
    Wrong {
        area: Area::Payment,
        table: "ledger_entry",
        done: "UPDATE ledger_entry SET amount_minor = amount_minor + 1 WHERE account = 'shop'",
        seen_by: &["ledger-sums-to-zero"],
    },
    Wrong {
        area: Area::Payment,
        table: "wallet",
        done: "UPDATE wallet SET balance_minor = balance_minor + 1 WHERE user_id = 'alice'",
        seen_by: &["wallets-follow-the-ledger"],
    },
    Wrong {
        area: Area::Payment,
        table: "wallet",
        done: "UPDATE wallet SET closed_at = now() WHERE user_id = 'alice'",
        seen_by: &["deleted-users-are-let-go"],
    },
    Wrong {
        area: Area::Order,
        table: "deleted_user",
        done: "INSERT INTO deleted_user (user_id, next_look_at) VALUES ('alice', NULL)",
        seen_by: &["deleted-users-are-let-go"],
    },
    Wrong {
        area: Area::Payment,
        table: "payment",
        done: "UPDATE payment SET amount_minor = amount_minor + 1 WHERE method = 'wallet'",
        seen_by: &[
            "payments-follow-the-ledger",
            "confirmed-is-paid-and-shipped",
        ],
    },
    Wrong {
        area: Area::Payment,
        table: "payment",
        done: "UPDATE payment SET state = 'refunding' WHERE state = 'refunded'",
        seen_by: &["rejected-leaves-nothing", "payments-follow-the-ledger"],
    },
    Wrong {
        area: Area::Payment,
        table: "payment",
        done: "UPDATE payment SET state = 'captured' WHERE state = 'refunded'",
        seen_by: &["captured-has-shipment", "card-processor-agrees"],
    },
    Wrong {
        area: Area::CardProcessor,
        table: "processed",
        done: "UPDATE processed SET amount_minor = amount_minor + 1 WHERE kind = 'charge'",
        seen_by: &["card-processor-agrees"],
    },
    Wrong {
        area: Area::CardProcessor,
        table: "processed",
        done: "UPDATE processed SET amount_minor = amount_minor - 1 WHERE kind = 'refund'",
        seen_by: &["card-processor-agrees"],
    },
    Wrong {
        area: Area::Payment,
        table: "payment",
        done: "UPDATE payment SET refunded_minor = refunded_minor + 1 WHERE state = 'captured'",
        seen_by: &["payments-follow-the-ledger", "card-processor-agrees"],
    },
    Wrong {
        area: Area::Payment,
        table: "refund",
        done: "UPDATE refund SET amount_minor = amount_minor + 1",
        seen_by: &["payments-follow-the-ledger"],
    },
    Wrong {
        area: Area::Payment,
        table: "refund",
        done: "UPDATE refund SET requested_by = 'saga:1' WHERE requested_by NOT LIKE 'saga:%'",
        seen_by: &["confirmed-is-paid-and-shipped"],
    },
    Wrong {
        area: Area::Inventory,
        table: "stock",
        done: "UPDATE stock SET on_hand = on_hand + 1 WHERE sku = 'mug-blue'",
        seen_by: &["stock-adds-up"],
    },
    Wrong {
        area: Area::Inventory,
        table: "stock",
        done: "UPDATE stock SET held = held + 1 WHERE sku = 'mug-blue'",
        seen_by: &["no-hold-left"],
    },
    Wrong {
        area: Area::Inventory,
        table: "stock",
        done: "UPDATE stock SET sold = sold + 1, on_hand = on_hand - 1 WHERE sku = 'mug-blue'",
        seen_by: &["stock-follows-orders"],
    },
    Wrong {
        area: Area::Order,
        table: "orders",
        done: "UPDATE orders SET country = 'AQ' WHERE status = 'confirmed'",
        seen_by: &["doomed-is-rejected"],
    },
    Wrong {
        area: Area::Shipping,
        table: "saga_guard",
        done: "UPDATE saga_guard SET act = 'pending' WHERE act = 'done'",
        seen_by: &["nothing-left-over"],
    },
];

/// Lets wrongs be written that the tables would refuse, and keeps each table as it is.
async fn unlock(backing: &Backing) {
    for wrong in WRONGS {
        let table = wrong.table;
        let statements = format!(
            "CREATE TABLE IF NOT EXISTS kept_{table} AS TABLE {table};
             DO $$ DECLARE name text; BEGIN
               FOR name IN SELECT conname FROM pg_constraint
                            WHERE conrelid = '{table}'::regclass AND contype IN ('c', 'u', 'f')
               LOOP EXECUTE format('ALTER TABLE {table} DROP CONSTRAINT %I', name); END LOOP;
             END $$"
        );
        run(backing, wrong.area, &statements).await;
    }
}

async fn undo(backing: &Backing, wrong: &Wrong) {
    let table = wrong.table;
    // rows that refer to these stay
    let statements = format!(
        "SET session_replication_role = replica;
         DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table}"
    );
    run(backing, wrong.area, &statements).await;
}

async fn run(backing: &Backing, area: Area, statements: &str) -> u64 {
    let mut database = connect(backing, area).await;
    let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned()));
    done.execute(&mut database).await.unwrap().rows_affected()
}

/// The invariants that do not hold.
async fn violated(backing: &Backing) -> Vec<&'static str> {
    let findings = check(&backing.database_url).await.unwrap();
    assert_eq!(findings.len(), INVARIANTS.len());
    let broken = findings
        .iter()
        .filter(|finding| !finding.violations.is_empty());
    broken.map(|finding| finding.name).collect()
}

/// Staff gives parts of what was paid back, in euros; `None`: all that is left.
async fn give_back(rig: &Rig, order: &Json, parts: &[Option<u32>]) {
    for part in parts {
        let path = format!(
            "/v1/payments/{}:refund",
            order["paymentId"].as_str().unwrap()
        );
        let mut body = json!({"reason": "a mug was broken"});
        if let Some(units) = part {
            body["amount"] = json!({"currencyCode": "EUR", "units": units.to_string()});
        }
        let given = rig.gateway.post(&path, &body, None).await.unwrap();
        let refund = given.success().unwrap();
        assert_eq!(refund["paymentId"], order["paymentId"], "{refund}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_invariant_sees_the_wrong_it_is_there_for() {
    let rig = Rig::start(async |_| {}).await;
    let mut orders = Vec::new();
    for (key, country, payment) in [
        ("a", "DE", wallet()),
        ("b", "DE", card()),
        ("c", "AQ", card()),
        ("d", "AQ", wallet()),
        ("f", "DE", card()),
    ] {
        let body = mugs("alice", country, payment);
        let placed = rig.gateway.order(&body, Some(key)).await;
        orders.push(placed.unwrap().success().unwrap()["orderId"].clone());
    }
    for (order, parts) in
        orders
            .iter()
            .zip([&[Some(5), Some(1)][..], &[Some(3)], &[], &[], &[None]])
    {
        let order = rig.decided(order.as_str().unwrap()).await;
        give_back(&rig, &order, parts).await;
    }
    let body = mugs("alice", "DE", wallet());
    let placed = rig.gateway.order(&body, Some("e")).await;
    let placed = placed.unwrap().success().unwrap();
    let order = rig.decided(placed["orderId"].as_str().unwrap()).await;
    give_back(&rig, &order, &[Some(2)]).await;
    rig.cancel(&order).await;
    assert_eq!(
        rig.settled(&order).await["status"],
        "ORDER_STATUS_CANCELLED"
    );
    // outboxes run empty a moment after the decision
    let limit = Duration::from_secs(20);
    let rests = async || violated(&rig.backing).await.is_empty().then_some(());
    eventually(limit, "all invariants hold", rests).await;
    let backing = rig.stop_services().await;
    unlock(&backing).await;

    let mut seen_once = Vec::new();
    for wrong in WRONGS {
        let rows = run(&backing, wrong.area, wrong.done).await;
        assert!(rows > 0, "nothing is wrong: {}", wrong.done);
        let seen = violated(&backing).await;
        for name in wrong.seen_by {
            assert!(seen.contains(name), "{name} does not see: {}", wrong.done);
        }
        seen_once.extend(wrong.seen_by);
        undo(&backing, wrong).await;
    }
    assert_eq!(violated(&backing).await, [""; 0], "when all is undone");
    for invariant in INVARIANTS {
        let name = invariant.name;
        assert!(seen_once.contains(&name), "{name} was never seen to fail");
    }
}
