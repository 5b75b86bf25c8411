use super::*;
use crate::schema::MessageShape;
use std::collections::BTreeMap;

macro_rules! messages {
    ($($name:ident)*) => {$(
        #[derive(Clone, PartialEq, prost::Message)]
        struct $name {}
        impl prost::Name for $name {
            const PACKAGE: &'static str = "test";
            const NAME: &'static str = stringify!($name);
        }
    )*};
}
messages! { Start Act Undo Go }

fn check(builder: PlanBuilder) -> String {
    builder.build().unwrap_err().to_string()
}

fn begin() -> PlanBuilder {
    Plan::new("p", 1).input::<Start>()
}

fn both(name: &str) -> StepBuilder {
    step(name).at("a").compensatable::<Act, Undo>().token("t")
}

fn pivot(name: &str) -> StepBuilder {
    step(name).at("a").pivot::<Go>().token("t")
}

#[test]
fn each_broken_rule_names_its_steps_and_the_way_out() {
    let plans = [
        begin(),
        Plan::new("p", 1).step(both("a")),
        begin().step(both("a")).step(both("a").after(["a"])),
        begin().step(both("a").after(["z"])),
        begin()
            .step(both("a").after(["b"]))
            .step(both("b").after(["a"])),
        begin().step(both("a")).step(both("b")),
        begin().step(step("a").compensatable::<Act, Undo>().token("t")),
        begin()
            .step(both("a"))
            .step(step("b").at("x").undo::<Undo>().after(["a"]).token("t")),
        begin().step(pivot("a")).step(pivot("b").after(["a"])),
        begin().step(pivot("a")).step(both("b").after(["a"])),
        begin()
            .step(both("a"))
            .step(pivot("b").after(["a"]))
            .step(step("c").at("x").retriable::<Go>().after(["a"]).token("t")),
        begin().step(step("a").at("x").retriable::<Go>().token("t")),
        begin().step(step("a").at("x").compensatable::<Act, Undo>()),
        begin().deadline(secs(1)).step(both("a").deadline(secs(2))),
        begin().step(both("a").retry(Retry {
            attempts_max: 0,
            ..Retry::default()
        })),
    ];
    let report: Vec<String> = plans.into_iter().map(check).collect();
    insta::assert_snapshot!(report.join("\n"));
}

fn schema() -> BTreeMap<String, MessageShape> {
    let shape = |fields: &[(&str, &str)], output: Option<&str>| MessageShape {
        fields: fields
            .iter()
            .map(|(n, t)| ((*n).to_owned(), (*t).to_owned()))
            .collect(),
        output: output.map(str::to_owned),
    };
    BTreeMap::from([
        (
            "test.Start".to_owned(),
            shape(&[("order_id", "string"), ("n", "int32")], None),
        ),
        (
            "test.Act".to_owned(),
            shape(&[("order_id", "string")], Some("test.Out")),
        ),
        ("test.Out".to_owned(), shape(&[("hold_id", "string")], None)),
        (
            "test.Undo".to_owned(),
            shape(&[("hold_id", "string"), ("reason", "string")], None),
        ),
        (
            "test.Go".to_owned(),
            shape(&[("hold_id", "string"), ("order_id", "string")], None),
        ),
    ])
}

#[test]
fn fields_are_bound_by_name_and_type_from_the_nearest_source() {
    let plan = begin()
        .step(both("hold").bind_undo("reason", cause_reason()))
        .step(pivot("go").after(["hold"]))
        .build()
        .unwrap()
        .resolve(&schema())
        .unwrap();
    let bindings = &plan.steps()[1].action.as_ref().unwrap().bindings;
    let sources: Vec<_> = bindings.iter().map(|b| b.source.clone()).collect();
    assert_eq!(sources, [output("hold", "hold_id"), input("order_id")]);
    assert_eq!(plan.hash().len(), 64);
    assert_ne!(
        plan.hash(),
        begin().step(both("hold")).build().unwrap().hash()
    );
}

#[test]
fn what_does_not_fit_is_refused_with_the_step() {
    let report = |builder: PlanBuilder| {
        builder
            .build()
            .unwrap()
            .resolve(&schema())
            .unwrap_err()
            .to_string()
    };
    let reports = [
        report(begin().step(both("hold"))), // reason has no source
        report(begin().step(both("hold").bind("order_id", input("n")))),
        report(begin().step(both("hold").bind("x", input("n")))),
        report(begin().step(both("hold").bind("order_id", output("later", "x")))),
        report(begin().step(both("hold").bind("order_id", cause_reason()))),
    ];
    insta::assert_snapshot!(reports.join("\n"));
}
