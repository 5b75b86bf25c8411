use super::*;
use crate::samples;

fn plans() -> [Plan; 2] {
    ["place-order@1", "cancel-order@1"].map(|name| samples::plan(name).unwrap())
}

#[test]
fn nor_do_they_disagree_where_the_carrier_is_asked_first() {
    let places = samples::plan("place-order@2").unwrap();
    let [_, cancels] = plans();
    let report = pair([&places, &cancels], None).at_once(1).run();
    assert!(report.is_safe(), "{report:#?}");
}

fn explored(bug: Option<Bug>, faults: u8) -> SharedReport {
    let [places, cancels] = plans();
    pair([&places, &cancels], bug).at_once(faults).run()
}

#[test]
fn an_order_and_its_cancellation_agree_in_every_interleaving() {
    let report = explored(None, 1);
    assert!(report.is_safe(), "{report:#?}");
    let calm = explored(None, 0);
    let ends: Vec<&String> = calm.endings.keys().collect();
    assert_eq!(
        ends,
        [
            // the parcel was handed over first
            "completed × compensated × compensated",
            "completed × compensated × never started",
            // it was not
            "completed × completed × never started",
            "completed × never started × never started",
        ]
    );
}

#[test]
fn a_cancellation_that_does_not_wait_for_the_saga_of_its_order_is_found() {
    let report = explored(Some(Bug::StartsEarly), 0);
    assert!(report.violation(Bug::StartsEarly.killed_by()).is_some());
    // no row lets it do harm: the restock is told to ask again, until people have to look
    let harm: Vec<Invariant> = report.violations.iter().map(|of| of.invariant).collect();
    assert_eq!(harm, [Bug::StartsEarly.killed_by()]);
    let needs = report
        .endings
        .keys()
        .find(|end| end.contains("needs-attention"));
    assert!(needs.is_some(), "{:?}", report.endings.keys());
}

#[test]
fn a_recall_that_does_not_look_refunds_what_was_shipped() {
    let report = explored(Some(Bug::RecallsBlindly), 0);
    let found = report.violation(Bug::RecallsBlindly.killed_by()).unwrap();
    let lines = &found.schedule.lines;
    assert!(
        lines
            .iter()
            .any(|line| line == "staff hands the parcel over")
    );
    assert!(
        lines.last().unwrap().contains("return-payment/forward"),
        "{found}"
    );
}

#[test]
fn every_planted_bug_is_found_and_other_pairs_are_not_known() {
    let [places, cancels] = plans();
    let mut out = Vec::new();
    let options = ExploreOptions::default();
    assert!(pair_of([&cancels, &places], &options, &mut out).is_err());
    assert!(pair_of([&places, &cancels], &options, &mut out).unwrap());
}
