//! What counting a caller costs a call: `cargo run --release -p palinode-rpc --example limit`.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Instant;

use palinode_rpc::{Buckets, Counted};

/// Callers, each with a bucket of his own.
const CALLERS: usize = 5_000;
/// How often each of them calls.
const ROUNDS: usize = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rate = NonZeroU32::new(10_000).ok_or("a rate is more than zero")?;
    let buckets = Buckets::new(rate);
    let mut callers = Vec::with_capacity(CALLERS);
    for number in 0..CALLERS {
        callers.push(Counted::User(format!("user-{number}").parse()?));
    }
    let began = Instant::now();
    for who in &callers {
        black_box(buckets.take(who)).ok();
    }
    tell("first call", began, CALLERS);
    let began = Instant::now();
    for _ in 0..ROUNDS {
        for who in &callers {
            // the server draws the name from the token for each call
            black_box(buckets.take(&black_box(who.clone()))).ok();
        }
    }
    tell("call", began, CALLERS * ROUNDS);
    let began = Instant::now();
    let who = &callers[0];
    for _ in 0..CALLERS * ROUNDS {
        black_box(buckets.take(who)).ok();
    }
    tell("one caller", began, CALLERS * ROUNDS);
    Ok(())
}

fn tell(what: &str, began: Instant, count: usize) {
    let each = began.elapsed() / u32::try_from(count).unwrap_or(u32::MAX);
    println!("{what:<12} {each:>10.2?} each");
}
