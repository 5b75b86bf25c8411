//! The statements of the product's hot path, from the files that the product itself runs.

macro_rules! file {
    ($name:ident = $crate_:literal / $file:literal) => {
        pub(super) const $name: &str =
            include_str!(concat!("../../../../", $crate_, "/src/sql/", $file, ".sql"));
    };
}

file!(READ_PAGE = "relay" / "read_page");
file!(DELETE = "relay" / "delete_acknowledged");
file!(INSERT_SAGAS = "orchestrator" / "insert_sagas");
file!(ADVANCE_SAGAS = "orchestrator" / "advance_sagas");
file!(GUARD_INSERT = "participant" / "guard_insert");
file!(OPENED = "participant" / "opened");
file!(ORDER_CLAIM = "order" / "claim");
file!(ORDER_INSERT = "order" / "insert");
file!(ORDER_DECIDE = "order" / "decide");
file!(INVENTORY_LOCK = "inventory" / "lock");
file!(INVENTORY_WRITE = "inventory" / "write");
file!(PAYMENT_LOCK = "payment" / "lock");
file!(PAYMENT_WRITE = "payment" / "write");
file!(SHIPPING_READ = "shipping" / "read");
file!(SHIPPING_INSERT = "shipping" / "insert");
file!(APPEND = "outbox" / "append");
