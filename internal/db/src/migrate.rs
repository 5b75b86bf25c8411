use std::str::FromStr;

use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::partition::make_ahead;
use crate::{Db, Error};

/// Makes the areas of one line each: the area, and the folder of its migrations.
macro_rules! areas {
    ($($(#[$doc:meta])* $area:ident = $folder:literal,)*) => {
        /// A database of the platform: each service owns one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Area {
            $($(#[$doc])* $area,)*
        }

        impl Area {
            /// Every area.
            pub const ALL: [Self; [$(Self::$area),*].len()] = [$(Self::$area),*];

            fn folder(self) -> &'static str {
                match self {
                    $(Self::$area => $folder,)*
                }
            }

            /// The migrations of its folder.
            fn own(self) -> &'static Migrator {
                match self {
                    $(Self::$area => {
                        static OWN: Migrator = sqlx::migrate!($folder);
                        &OWN
                    })*
                }
            }
        }
    };
}

areas! {
    /// The orchestrator's: sagas and their history.
    Saga = "../../migrations/saga",
    /// Orders, products, carts and quotes.
    Order = "../../migrations/order",
    /// Stock and reservations.
    Inventory = "../../migrations/inventory",
    /// Wallets, payments and the ledger.
    Payment = "../../migrations/payment",
    /// Shipments.
    Shipping = "../../migrations/shipping",
    /// The simulated external card processor.
    CardProcessor = "../../migrations/cardprocessor",
    /// Accounts, sessions and signing keys.
    Identity = "../../migrations/identity",
    /// Products and categories.
    Catalog = "../../migrations/catalog",
}

impl Area {
    /// The area's name, as in `migrations/<name>`.
    #[must_use]
    pub fn name(self) -> &'static str {
        let folder = self.folder();
        folder.rsplit('/').next().unwrap_or(folder)
    }

    /// The name of its database: `palinode_<name>`.
    #[must_use]
    pub fn database(self) -> String {
        format!("palinode_{}", self.name())
    }

    /// Whether the area has an outbox, that is: whether it speaks on Kafka.
    #[must_use]
    pub fn has_outbox(self) -> bool {
        self != Self::CardProcessor
    }

    /// Platform and area in one migrator, in order of version: two migrators on one database would
    /// refuse each other's versions.
    fn migrator(self) -> Migrator {
        static PLATFORM: Migrator = sqlx::migrate!("../../migrations/platform");
        let platform = if self.has_outbox() {
            PLATFORM.migrations.as_ref()
        } else {
            &[]
        };
        let mut migrations: Vec<_> = platform.iter().chain(self.own().iter()).cloned().collect();
        migrations.sort_by_key(|m| m.version);
        Migrator::with_migrations(migrations)
    }

    /// The version of the newest migration.
    #[must_use]
    pub fn schema_version(self) -> i64 {
        self.migrator()
            .iter()
            .map(|m| m.version)
            .max()
            .unwrap_or_default()
    }
}

impl FromStr for Area {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|area| area.name() == name)
            .ok_or_else(|| {
                format!(
                    "{name:?} is no area: {}",
                    Self::ALL.map(Self::name).join(", ")
                )
            })
    }
}

/// A database that could not be migrated, or has another schema than this program.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database does not answer, or refuses us.
    #[error("the database of {area} cannot be reached")]
    Connect {
        /// Which.
        area: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// A migration failed; those before it are kept.
    #[error("the database of {area} cannot be migrated")]
    Migrate {
        /// Which.
        area: &'static str,
        /// The cause.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// Its tables cannot be partitioned.
    #[error("the days of the tables of {area} cannot be made")]
    Partitions {
        /// Which.
        area: &'static str,
        /// The cause.
        #[source]
        source: Error,
    },
    /// The schema is another one than this program was built for.
    #[error(
        "the database of {area} has schema version {found}, this program needs {needed}: run \
         `palinode migrate`, or the release that fits"
    )]
    Version {
        /// Which.
        area: &'static str,
        /// What the database has; 0 if it was never migrated.
        found: i64,
        /// What the program was built for.
        needed: i64,
    },
}

/// Brings the database at `url` to the newest schema of `area`. Safe to run twice, and by two.
///
/// # Errors
/// `Connect`: no way to the database. `Migrate`: names the migration that failed.
pub async fn migrate(url: &str, area: Area) -> Result<(), MigrateError> {
    let connect = |source| MigrateError::Connect {
        area: area.name(),
        source,
    };
    let options = PgConnectOptions::from_str(url).map_err(connect)?;
    let mut connection = options.connect().await.map_err(connect)?;
    area.migrator()
        .run(&mut connection)
        .await
        .map_err(|source| MigrateError::Migrate {
            area: area.name(),
            source,
        })?;
    if area.has_outbox() {
        let made = make_ahead(&mut connection).await;
        made.map_err(|source| MigrateError::Partitions {
            area: area.name(),
            source,
        })?;
    }
    connection.close().await.map_err(connect)
}

/// Refuses a database whose schema is older than this program. A newer one is fine: migrations
/// only expand until every program has moved on.
///
/// # Errors
/// `Version`: says what to run.
pub async fn require_current_schema(db: &Db, area: Area) -> Result<(), MigrateError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the migrator's own table is in no schema file"
    )]
    let found: Result<Option<i64>, Error> =
        sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
            .fetch_one(db.pool())
            .await
            .map_err(Error::from);
    let found = match found {
        Ok(found) => found.unwrap_or_default(),
        Err(Error::Statement(_)) => 0, // the table does not exist: never migrated
        Err(Error::Unavailable(source)) => {
            return Err(MigrateError::Connect {
                area: area.name(),
                source,
            });
        }
        Err(_) => 0,
    };
    let needed = area.schema_version();
    if found < needed {
        return Err(MigrateError::Version {
            area: area.name(),
            found,
            needed,
        });
    }
    Ok(())
}
