//! What a token costs a service: `cargo run --release -p palinode-auth --example verify`.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use palinode_auth::{Grant, Role, Signer, Verifier};
use palinode_values::Clock;

/// Tokens, each of another user.
const TOKENS: usize = 5_000;
/// How often they are shown again.
const ROUNDS: usize = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock = Clock::system();
    let signer = Signer::read(&Signer::draw()?)?;
    let verifier = Verifier::new(clock.clone());
    verifier.set_keys(&Signer::publish([&signer]))?;
    let began = Instant::now();
    let mut tokens = Vec::with_capacity(TOKENS);
    for number in 0..TOKENS {
        let grant = Grant {
            subject: format!("user-{number}").parse()?,
            roles: vec![Role::Customer],
            session: None,
            lifetime: Duration::from_secs(900),
        };
        tokens.push(signer.sign(&grant, clock.now())?);
    }
    tell("signed", began, TOKENS);
    let began = Instant::now();
    for token in &tokens {
        black_box(verifier.verify(token)?);
    }
    tell("verified", began, TOKENS);
    let began = Instant::now();
    for _ in 0..ROUNDS {
        for token in &tokens {
            black_box(verifier.verify(token)?);
        }
    }
    tell("shown again", began, TOKENS * ROUNDS);
    Ok(())
}

fn tell(what: &str, began: Instant, count: usize) {
    let each = began.elapsed() / u32::try_from(count).unwrap_or(u32::MAX);
    println!("{what:<12} {each:>10.2?} each");
}
