//! A plan of one's own, from its messages to everything that can become of it.
//!
//! Run it with `cargo run -p palinode-explore --example book_trip`; `docs/guides/write-a-plan.md`
//! walks through it.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::process::ExitCode;

use palinode_explore::explore;
use palinode_saga::{Plan, PlanErrors, secs, step};

// In a service these come out of .proto files. A plan only needs their names.
macro_rules! messages {
    ($($name:ident)*) => {$(
        #[derive(Clone, PartialEq, prost::Message)]
        struct $name {}
        impl prost::Name for $name {
            const PACKAGE: &'static str = "trips.v1";
            const NAME: &'static str = stringify!($name);
        }
    )*};
}
messages! { BookTrip CancelTrip BookHotel CancelHotel BookFlight CancelFlight TakeMoney SendTickets }

fn book_trip() -> Result<Plan, PlanErrors> {
    Plan::new("book-trip", 1)
        .input::<BookTrip>()
        .deadline(secs(60))
        .cancellable()
        // done by whoever starts the saga, in the transaction that starts it
        .opened_by(
            step("open-trip")
                .at("trips")
                .undo::<CancelTrip>()
                .token("trip.open"),
        )
        // two branches at the same time
        .step(
            step("book-hotel")
                .at("hotels")
                .after(["open-trip"])
                .compensatable::<BookHotel, CancelHotel>()
                .token("hotel.booking"),
        )
        .step(
            step("book-flight")
                .at("flights")
                .after(["open-trip"])
                .compensatable::<BookFlight, CancelFlight>()
                .token("flight.booking"),
        )
        // the point of no return: before it everything can be taken back, after it nothing fails
        .step(
            step("take-money")
                .at("bank")
                .after(["book-hotel", "book-flight"])
                .pivot::<TakeMoney>()
                .token("money.taken"),
        )
        .step(
            step("send-tickets")
                .at("mail")
                .after(["take-money"])
                .retriable::<SendTickets>()
                .skippable()
                .token("tickets.sent"),
        )
        .build()
}

fn main() -> ExitCode {
    let plan = match book_trip() {
        Ok(plan) => plan,
        Err(broken) => {
            println!("{broken}");
            return ExitCode::FAILURE;
        }
    };
    println!("{}", plan.mermaid());
    let report = explore(&plan).run();
    println!("{} states, {} paths", report.states, report.paths.len());
    for (name, ending) in &report.endings {
        let example = &ending.example;
        println!("\n{name}, at the least by {}:\n{example}", example.scenario);
    }
    for violation in &report.violations {
        println!("\nVIOLATED {violation}");
    }
    if report.is_good() {
        ExitCode::SUCCESS
    } else {
        println!(
            "\nunreached: {:?}\nnever made: {:?}",
            report.unreached, report.missed
        );
        ExitCode::FAILURE
    }
}
