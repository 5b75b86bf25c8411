//! The sample of `docs/guides/test-a-plan.md`: a test holds that the two are the same.

use palinode_explore::{
    Faults, World, every_crash_point, explore, fail_each_step, repeat_each_step,
};
use palinode_saga::{Plan, PlanErrors, secs, step};

use super::{Do, Start, Undo};

fn my_plan() -> Result<Plan, PlanErrors> {
    let hotel = step("hotel").at("hotels").after(["open"]);
    let money = step("money").at("bank").after(["hotel"]);
    Plan::new("book-hotel", 1)
        .input::<Start>()
        .deadline(secs(60))
        .cancellable()
        .opened_by(step("open").at("trips").undo::<Undo>().token("trip"))
        .step(hotel.compensatable::<Do, Undo>().token("booking"))
        .step(money.pivot::<Do>().token("money"))
        .build()
}

#[test]
fn the_sample_of_the_guide_passes() -> Result<(), Box<dyn std::error::Error>> {
    let plan = my_plan()?;
    let report = explore(&plan).faults(Faults::all()).run();
    assert!(report.is_good(), "{report:#?}");

    // an invariant of your own, over the effects that there are
    let report = explore(&plan)
        .invariant("no-money-without-a-room", |view| {
            if view.is_there("money") && !view.is_there("hotel") {
                Err("we have taken money for nothing".to_owned())
            } else {
                Ok(())
            }
        })
        .run();
    assert!(report.is_good(), "{report:#?}");

    // after each durable write, and again in recovery
    every_crash_point(&plan, 2);
    fail_each_step(&plan, |run| run.assert_failed_at_the_step());
    repeat_each_step(&plan, |run| run.assert_same_effects());

    // one saga by hand, with a virtual clock and the plan's own budgets
    let mut world = World::new(&plan);
    world.inject("money/forward/never")?;
    world.advance(secs(3));
    world.check("the room is held", |view| match view.is_there("hotel") {
        true => Ok(()),
        false => Err("it is not".to_owned()),
    });
    // nobody answers: the bank is asked whether it has the money, and it has not
    world.advance(secs(60));
    world.check("the room is given back", |view| {
        match view.is_there("hotel") {
            false => Ok(()),
            true => Err("it is not".to_owned()),
        }
    });
    world.assert_fired();
    Ok(())
}
