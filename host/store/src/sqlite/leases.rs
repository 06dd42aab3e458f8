//! `Leases` on SQLite.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;
use crate::clock::{millis, storable};
use crate::{Epoch, Lease, LeaseName, Leases, NodeId, Result};

#[async_trait]
impl Leases for SqliteStore {
    async fn acquire(
        &self,
        name: &LeaseName,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Option<Epoch>> {
        let (name, node, ttl_ms) = (name.clone(), node.clone(), millis(ttl));
        self.write(0, move |tx| {
            let now = tx.now_ms;
            tx.sql(|connection| Ok(acquire(connection, &name, &node, ttl_ms, now)?))
        })
        .await
    }

    async fn acquire_many(
        &self,
        names: Vec<LeaseName>,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Vec<(LeaseName, Epoch)>> {
        let (node, ttl_ms) = (node.clone(), millis(ttl));
        self.write(0, move |tx| {
            let now = tx.now_ms;
            tx.sql(|connection| {
                let mut taken = Vec::new();
                for name in names {
                    let epoch = acquire(connection, &name, &node, ttl_ms, now)?;
                    taken.extend(epoch.map(|epoch| (name, epoch)));
                }
                Ok(taken)
            })
        })
        .await
    }

    async fn renew_all(&self, node: &NodeId) -> Result<Vec<(LeaseName, Epoch)>> {
        let node = node.clone();
        self.write(0, move |tx| {
            let now = tx.now_ms;
            tx.sql(|connection| {
                let mut update = connection.prepare_cached(
                    "UPDATE owners SET until_ms = ?2 + ttl_ms WHERE node = ?1 RETURNING name, epoch",
                )?;
                let rows = update.query_map(params![node.as_str(), now], |row| {
                    Ok((LeaseName::from(row.get::<_, String>(0)?), row.get(1)?))
                })?;
                let mut held: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
                held.sort();
                Ok(held)
            })
        })
        .await
    }

    async fn release(&self, name: &LeaseName, node: &NodeId, epoch: Epoch) -> Result<bool> {
        let (name, node) = (name.clone(), node.clone());
        self.write(0, move |tx| {
            tx.sql(|connection| {
                let mut update = connection.prepare_cached(
                    "UPDATE owners SET node = NULL WHERE name = ?1 AND node = ?2 AND epoch = ?3",
                )?;
                Ok(update.execute(params![name.as_str(), node.as_str(), storable(epoch)])? > 0)
            })
        })
        .await
    }

    async fn leases(&self) -> Result<Vec<(LeaseName, Lease)>> {
        self.read(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT node, epoch, until_ms, name FROM owners WHERE node IS NOT NULL ORDER BY name",
            )?;
            let rows = select.query_map([], |row| {
                Ok((LeaseName::from(row.get::<_, String>(3)?), lease(row)?))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn holder(&self, name: &LeaseName) -> Result<Option<Lease>> {
        let name = name.clone();
        self.read(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT node, epoch, until_ms FROM owners WHERE name = ?1 AND node IS NOT NULL",
            )?;
            Ok(select.query_row([name.as_str()], lease).optional()?)
        })
        .await
    }
}

fn lease(row: &rusqlite::Row<'_>) -> rusqlite::Result<Lease> {
    Ok(Lease {
        node: NodeId::from(row.get::<_, String>(0)?),
        epoch: row.get(1)?,
        until_ms: row.get(2)?,
    })
}

fn acquire(
    connection: &Connection,
    name: &LeaseName,
    node: &NodeId,
    ttl_ms: u64,
    now: u64,
) -> rusqlite::Result<Option<Epoch>> {
    // Not taken when another node holds it: then no row comes back.
    let mut upsert = connection.prepare_cached(
        "INSERT INTO owners (name, epoch, node, until_ms, ttl_ms) VALUES (?1, 1, ?2, ?3, ?4)
         ON CONFLICT (name) DO UPDATE
         SET epoch = epoch + 1, node = ?2, until_ms = ?3, ttl_ms = ?4
         WHERE node IS NULL OR node = ?2 OR until_ms <= ?5 OR until_ms > ?5 + ttl_ms
         RETURNING epoch",
    )?;
    let values = params![name.as_str(), node.as_str(), now + ttl_ms, ttl_ms, now];
    upsert.query_row(values, |row| row.get(0)).optional()
}
