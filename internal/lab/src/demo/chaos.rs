use std::path::Path;
use std::time::Duration;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::clients::Crowd;
use crate::backing::Backing;
use crate::fleet::{Fleet, FleetOptions};

/// Each is killed that often.
const ROUNDS: u32 = 2;
/// Who is killed.
const VICTIMS: [&str; 6] = [
    "orchestrator",
    "inventory",
    "payment",
    "shipping",
    "order",
    "relay",
];

pub(crate) fn fleet_of(program: &Path, backing: &Backing) -> anyhow::Result<FleetOptions> {
    Ok(FleetOptions {
        program: program.to_owned(),
        database_url: backing.database_url.clone(),
        kafka: backing.kafka.clone(),
        gateway_port: None,
        logs: None,
        log: "info".to_owned(),
        otlp_endpoint: None,
    })
}

/// So long the next death waits for the one before to be overcome.
const BACK_LIMIT: Duration = Duration::from_secs(3);

/// Lets orders in, a share after another; in the middle of each share a service is killed, and
/// started again at once. Every victim dies as often as every other, in an order that the seed
/// gives, and again before it is fully back or after, as it comes.
pub(crate) async fn torment(fleet: &Fleet, crowd: &Crowd, seed: u64) -> anyhow::Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut deaths = Vec::new();
    for _ in 0..ROUNDS {
        let mut round = VICTIMS;
        round.shuffle(&mut random);
        deaths.extend(round);
    }
    let mut placed = crowd.placed();
    let shares = u32::try_from(deaths.len())? + 1;
    let mut admitted = 0;
    for (number, victim) in deaths.into_iter().enumerate() {
        let until = share(crowd.orders, shares, u32::try_from(number)? + 1);
        crowd.gate.add_permits((until - admitted) as usize);
        // with half of the share placed its sagas are on their way
        let half = admitted + (until - admitted) / 2;
        placed.wait_for(|placed| *placed >= half).await?;
        admitted = until;
        tracing::info!(victim, placed = *placed.borrow(), "killed");
        fleet.kill(victim).await;
        fleet.spawn(victim)?;
        fleet.listens(victim).await?;
        // usually it works again before the next one dies; a group may take longer to take it in
        tokio::time::timeout(BACK_LIMIT, fleet.ready(victim))
            .await
            .unwrap_or(Ok(()))?;
    }
    crowd.gate.add_permits((crowd.orders - admitted) as usize);
    Ok(())
}

/// Orders that are let in by the end of share `number` of `shares`.
fn share(orders: u32, shares: u32, number: u32) -> u32 {
    u32::try_from(u64::from(orders) * u64::from(number) / u64::from(shares))
        .expect("a share of a u32 fits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_grow_to_the_whole() {
        let shares: Vec<_> = (1..=13).map(|number| share(300, 13, number)).collect();
        assert!(shares.is_sorted());
        assert_eq!(shares.last(), Some(&300));
        assert_eq!(share(5, 13, 1), 0);
    }
}
