use palinode_values::SagaId;
use uuid::Uuid;

use super::*;

fn order(number: u128) -> OrderId {
    OrderId(Uuid::from_u128(number))
}

fn saga(number: u128) -> SagaId {
    SagaId(Uuid::from_u128(number))
}

fn shipment(number: u128) -> ShipmentId {
    ShipmentId(Uuid::from_u128(number))
}

fn ship(number: u128, country: &str, carrier_version: Option<i64>) -> Command {
    let text = |text: &str| text.to_owned();
    Command::Arrange(Arrange {
        order: order(number),
        user: "ada".parse().unwrap(),
        address: Address {
            name: text("Ada"),
            street: text("Lange Gasse 1"),
            postal_code: text("01067"),
            city: text("Dresden"),
            country: Country::named(country),
        },
        items: vec![Item {
            sku: "mug".parse().unwrap(),
            quantity: 1,
        }],
        carrier_version,
    })
}

fn quote(country: &str) -> Command {
    Command::Quote {
        country: Country::named(country),
    }
}

fn recall(number: u128, id: u128) -> Command {
    Command::Recall {
        order: order(number),
        shipment: shipment(id),
    }
}

/// Version 3 of the carrier delivers to Germany. Order 9 has the shipment 90 of saga 7, which is
/// arranged, order 8 the shipment 80, which is dispatched.
fn book() -> Book {
    let carrier = Carrier {
        name: "Elbe Kurier".to_owned(),
        version: 3,
    };
    let existing = Existing {
        id: shipment(90),
        saga: saga(7),
    };
    let standing = |number, id, state| Standing {
        id: shipment(id),
        order: order(number),
        state,
    };
    let standing = [
        standing(9, 90, State::Arranged),
        standing(8, 80, State::Dispatched),
    ];
    Book {
        carriers: [(Country::named("DE"), carrier)].into(),
        existing: [(order(9), existing)].into(),
        standing: standing.map(|standing| (standing.id, standing)).into(),
    }
}

#[test]
fn commands_are_decided_in_their_order() {
    // saga, command → verdict
    let table = [
        (1, ship(1, "DE", None), "arranged"),
        (1, ship(1, "DE", None), "already"),
        (2, ship(1, "DE", None), "ALREADY_SHIPPED"),
        (2, ship(2, "AQ", None), "NO_CARRIER"),
        (2, ship(2, "", None), "NO_CARRIER"),
        (2, ship(2, "Germany", None), "NO_CARRIER"),
        (2, ship(2, "AQ", Some(3)), "NO_CARRIER"),
        (2, ship(2, "DE", Some(2)), "CARRIER_CHANGED"),
        (2, ship(2, "de", Some(3)), "arranged"),
        (7, ship(9, "AQ", Some(2)), "already"),
        (9, ship(9, "DE", None), "ALREADY_SHIPPED"),
        (3, quote("de"), "quoted"),
        (3, quote("AQ"), "NO_CARRIER"),
        (4, recall(8, 80), "SHIPMENT_DISPATCHED"),
        (4, recall(8, 90), "SHIPMENT_NOT_FOUND"),
        (4, recall(9, 91), "SHIPMENT_NOT_FOUND"),
        (4, recall(9, 90), "recalled"),
        (4, recall(9, 90), "recalled before"),
        (5, recall(9, 90), "ALREADY_RECALLED"),
    ];
    let asked: Vec<Asked<'_>> = (100..)
        .zip(&table)
        .map(|(new, (by, command, _))| Asked {
            saga: saga(*by),
            new: shipment(new),
            command,
        })
        .collect();
    let now = "2026-11-21T12:00:00Z".parse().unwrap();
    let verdicts = book().decide(&asked, now);
    let words = verdicts.iter().map(|verdict| match verdict {
        Verdict::Arranged(shipment) => {
            assert_eq!(shipment.carrier, "Elbe Kurier");
            "arranged"
        }
        Verdict::AlreadyArranged(_) => "already",
        Verdict::Quoted(carrier) => {
            assert_eq!(carrier.version, 3);
            "quoted"
        }
        Verdict::Recalled(standing) => {
            assert_eq!(standing.state, State::Recalled { by: saga(4) });
            "recalled"
        }
        Verdict::AlreadyRecalled => "recalled before",
        Verdict::Refused(refusal) => refusal.reason.as_str(),
    });
    let expected = table.iter().map(|(.., word)| *word);
    assert_eq!(words.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    assert_eq!(verdicts[1], Verdict::AlreadyArranged(asked[0].new));
}

#[test]
fn every_state_has_an_answer_to_every_event() {
    let (one, two) = (saga(1), saga(2));
    let recalled = State::Recalled { by: one };
    let matrix = [
        (State::Arranged, Event::Dispatch, Ok(State::Dispatched)),
        (State::Arranged, Event::Recall { by: one }, Ok(recalled)),
        (State::Dispatched, Event::Dispatch, Ok(State::Dispatched)),
        (
            State::Dispatched,
            Event::Recall { by: one },
            Err(Reason::ShipmentDispatched),
        ),
        (recalled, Event::Dispatch, Err(Reason::ShipmentRecalled)),
        (recalled, Event::Recall { by: one }, Ok(recalled)),
        (
            recalled,
            Event::Recall { by: two },
            Err(Reason::AlreadyRecalled),
        ),
    ];
    for (state, event, expected) in matrix {
        assert_eq!(state.next(event), expected, "{state:?} {event:?}");
        let stored = State::from_stored(state.as_str(), state.recalled_by());
        assert_eq!(stored, Some(state));
    }
    assert_eq!(State::from_stored("recalled", None), None);
    assert_eq!(State::from_stored("arranged", Some(one)), None);
}

#[test]
fn every_reason_has_a_page() {
    for reason in Reason::ALL {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        let page = folder.join(format!("{}.md", reason.as_str()));
        let text = std::fs::read_to_string(&page).unwrap_or_default();
        let title = format!("# {}\n", reason.as_str());
        assert!(
            text.starts_with(&title),
            "{} has to begin with {title}",
            page.display()
        );
    }
}
