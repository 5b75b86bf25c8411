//! Where the pages of a queue begin.
//!
//! While somebody leaves a transaction open, no deleted row can be removed, and a page that begins at
//! the head of its lane steps over all of them. It may begin behind them once it is certain that no row
//! is left there, and that none will come: a number that was drawn may be committed much later.

use palinode_db::Error;
use palinode_messaging::LANES;
use sqlx::PgConnection;

/// Every row of the outbox with a smaller id is gone, and none will come. A property of the table,
/// whoever has which lane, and of the connection: once that is lost, the server may have crashed,
/// or be another one, and draw the same numbers again.
#[derive(Debug, Default)]
pub(crate) struct Floor {
    id: i64,
    next: Option<Mark>,
}

/// A floor to be: whoever may have drawn a smaller number has to end first.
#[derive(Debug)]
struct Mark {
    id: i64,
    writers: Vec<String>,
}

impl Floor {
    /// Pages begin at this id.
    pub(crate) fn id(&self) -> i64 {
        self.id
    }

    /// Raises the floor as far as it is certain; asked again, a little later, it comes further.
    pub(crate) async fn raise(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        if let Some(mark) = &self.next {
            if mark.is_written(conn).await? {
                return Ok(());
            }
            // a snapshot from after their end sees all that they have left
            let left = lowest(conn, self.id, mark.id).await?;
            self.id = left.unwrap_or(mark.id + 1);
        }
        self.next = Some(Mark::here(conn).await?);
        Ok(())
    }
}

impl Mark {
    /// The last number that was drawn, and then, in another statement, who writes: whoever has drawn
    /// a smaller one had the lock before, and is among them or has ended.
    async fn here(conn: &mut PgConnection) -> Result<Self, Error> {
        // who may write the outbox need not have a right to its sequence: then nothing is known
        let id = sqlx::query_scalar!(
            r#"SELECT CASE WHEN has_sequence_privilege(of.id, 'SELECT, USAGE')
                           THEN coalesce(pg_sequence_last_value(of.id), 0) ELSE 0 END AS "id!"
                 FROM (SELECT pg_get_serial_sequence('outbox', 'id')::regclass AS id) AS of"#
        );
        let id = id.fetch_one(&mut *conn).await?;
        let writers = sqlx::query_file_scalar!("src/sql/floor_writers.sql");
        let writers = writers.fetch_one(conn).await?;
        Ok(Self { id, writers })
    }

    async fn is_written(&self, conn: &mut PgConnection) -> Result<bool, Error> {
        let found = sqlx::query_file_scalar!("src/sql/floor_written.sql", &self.writers);
        Ok(found.fetch_one(conn).await?)
    }
}

fn lanes() -> Vec<i16> {
    let lanes = (0..LANES).filter_map(|lane| i16::try_from(lane).ok());
    lanes.collect()
}

/// Dead rows that a page steps over which begins at the head of each lane.
pub(crate) async fn dead(conn: &mut PgConnection) -> Result<i64, Error> {
    let dead = sqlx::query_file_scalar!("src/sql/floor_dead.sql", &lanes());
    Ok(dead.fetch_one(conn).await?)
}

async fn lowest(conn: &mut PgConnection, from: i64, to: i64) -> Result<Option<i64>, Error> {
    let lowest = sqlx::query_file_scalar!("src/sql/floor_lowest.sql", &lanes(), from, to);
    Ok(lowest.fetch_one(conn).await?)
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "tests write rows that no record has made"
)]
mod tests {
    use palinode_db::{Area, Db, Options, Own, Tx};
    use palinode_testkit::database::{TestDatabase, test_database};

    use super::*;

    const LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

    struct World {
        _database: TestDatabase,
        db: Db,
        own: Own,
        floor: Floor,
    }

    impl World {
        async fn new() -> Self {
            let database = test_database(Area::Order).await;
            let options = Options {
                url: database.url.clone(),
                service: "test".to_owned(),
                connections_max: 6,
            };
            let db = Db::connect(&options).await.unwrap();
            Self {
                _database: database,
                own: db.own(),
                db,
                floor: Floor::default(),
            }
        }

        /// Writes a row of each lane; the last id of them.
        async fn write(&self) -> i64 {
            let mut tx = self.db.begin().await.unwrap();
            let last = write(&mut tx, 64).await;
            tx.commit().await.unwrap();
            last
        }

        async fn delete(&self, ids: std::ops::RangeInclusive<i64>) {
            sqlx::query("DELETE FROM outbox WHERE id BETWEEN $1 AND $2")
                .bind(ids.start())
                .bind(ids.end())
                .execute(self.db.pool())
                .await
                .unwrap();
        }

        /// Somebody who still sees everything that is there now.
        async fn reader(&self) -> Tx {
            let mut reader = self.db.begin().await.unwrap();
            sqlx::raw_sql("DECLARE held CURSOR FOR SELECT FROM outbox")
                .execute(reader.conn())
                .await
                .unwrap();
            reader
        }

        async fn dead(&mut self) -> i64 {
            self.own.run(dead).await.unwrap()
        }

        /// As far as it comes.
        async fn raised(&mut self) -> i64 {
            for _ in 0..4 {
                let raised = self.own.run(async |conn| self.floor.raise(conn).await);
                raised.await.unwrap();
            }
            self.floor.id()
        }
    }

    async fn write(tx: &mut Tx, rows: i32) -> i64 {
        let written = sqlx::query_scalar(
            "WITH written AS (
               INSERT INTO outbox (lane, topic, event_id, key, headers, payload)
               SELECT n % 64, 1, gen_random_uuid(), 'a', '', '' FROM generate_series(1, $1) n
               RETURNING id)
             SELECT max(id) FROM written",
        );
        written.bind(rows).fetch_one(tx.conn()).await.unwrap()
    }

    #[tokio::test]
    async fn it_rises_over_what_is_gone_and_stops_at_what_is_left() {
        let mut world = World::new().await;
        assert_eq!(world.raised().await, 1);
        let last = world.write().await;
        world.delete(1..=20).await;
        assert_eq!(world.raised().await, 21);
        world.delete(22..=last).await;
        assert_eq!(world.raised().await, 21);
        world.delete(21..=21).await;
        assert_eq!(world.raised().await, last + 1);
    }

    #[tokio::test]
    async fn it_waits_for_whoever_has_drawn_a_smaller_number() {
        let mut world = World::new().await;
        let mut late = world.db.begin().await.unwrap();
        let small = write(&mut late, 1).await;
        let last = world.write().await;
        world.delete(small + 1..=last).await;
        assert!(world.raised().await <= small);
        let more = world.write().await;
        world.delete(last + 1..=more).await;
        assert!(world.raised().await <= small);
        late.commit().await.unwrap();
        assert_eq!(world.raised().await, small);
        world.delete(small..=small).await;
        assert_eq!(world.raised().await, more + 1);
    }

    /// Who prepares a two-phase commit is another virtual transaction from there on.
    #[tokio::test]
    async fn it_waits_for_who_has_only_prepared() {
        let mut world = World::new().await;
        let mut late = world.db.begin().await.unwrap();
        let small = write(&mut late, 1).await;
        let last = world.write().await;
        world.delete(small + 1..=last).await;
        assert!(world.raised().await <= small);
        sqlx::raw_sql("PREPARE TRANSACTION 'floor'; BEGIN")
            .execute(late.conn())
            .await
            .unwrap();
        assert!(world.raised().await <= small);
        sqlx::raw_sql("COMMIT PREPARED 'floor'")
            .execute(world.db.pool())
            .await
            .unwrap();
        assert_eq!(world.raised().await, small);
    }

    #[tokio::test]
    async fn who_gives_up_leaves_nothing_to_wait_for() {
        let mut world = World::new().await;
        let mut late = world.db.begin().await.unwrap();
        let small = write(&mut late, 1).await;
        let last = world.write().await;
        world.delete(1..=last).await;
        assert!(world.raised().await <= small);
        drop(late);
        palinode_testkit::eventually(LIMIT, "it rises", async || {
            (world.raised().await == last + 1).then_some(())
        })
        .await;
    }

    /// Who writes the outbox needs no right to the sequence of its identity.
    #[tokio::test]
    async fn without_a_right_to_the_sequence_it_stays_where_it_is() {
        let mut world = World::new().await;
        sqlx::raw_sql("CREATE ROLE floor_reader; GRANT SELECT ON outbox TO floor_reader")
            .execute(world.db.pool())
            .await
            .unwrap();
        let become_it = async |conn: &mut PgConnection| {
            sqlx::raw_sql("SET ROLE floor_reader").execute(conn).await?;
            Ok(())
        };
        world.own.run(become_it).await.unwrap();
        let last = world.write().await;
        world.delete(1..=last).await;
        assert_eq!(world.raised().await, 1);
        sqlx::raw_sql("DROP OWNED BY floor_reader; DROP ROLE floor_reader")
            .execute(world.db.pool())
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn the_dead_are_counted_while_somebody_might_see_them() {
        let mut world = World::new().await;
        let last = world.write().await;
        assert_eq!(world.dead().await, 0);
        let mut reader = world.reader().await;
        world.delete(1..=last - 10).await;
        assert_eq!(world.dead().await, last - 10);
        assert_eq!(world.dead().await, last - 10);
        world.delete(last - 9..=last).await;
        assert_eq!(world.dead().await, last);
        sqlx::raw_sql("COMMIT; BEGIN")
            .execute(reader.conn())
            .await
            .unwrap();
        // the first who steps over them marks them
        palinode_testkit::eventually(LIMIT, "none", async || {
            (world.dead().await == 0).then_some(())
        })
        .await;
    }

    /// That is whom it is for.
    #[tokio::test]
    async fn it_does_not_wait_for_who_only_reads() {
        let mut world = World::new().await;
        let reader = world.reader().await;
        let last = world.write().await;
        world.delete(1..=last).await;
        assert_eq!(world.raised().await, last + 1);
        drop(reader);
    }
}
