use uuid::Uuid;

use super::*;

fn arrange(order: u128, country: &str) -> Arrange {
    let text = |text: &str| text.to_owned();
    Arrange {
        order: OrderId(Uuid::from_u128(order)),
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
    }
}

#[test]
fn commands_are_decided_in_their_order() {
    let carriers = [(Country::named("DE"), "Elbe Kurier".to_owned())].into();
    let existing = Existing {
        id: ShipmentId(Uuid::from_u128(90)),
        saga: SagaId(Uuid::from_u128(7)),
    };
    // (order, saga, country) → verdict; order 9 has a shipment of saga 7
    let table = [
        (1, 1, "DE", "arranged"),
        (1, 1, "DE", "already"),
        (1, 2, "DE", "ALREADY_SHIPPED"),
        (2, 2, "AQ", "NO_CARRIER"),
        (2, 2, "", "NO_CARRIER"),
        (2, 2, "Germany", "NO_CARRIER"),
        (2, 2, "de", "arranged"),
        (9, 7, "AQ", "already"),
        (9, 9, "DE", "ALREADY_SHIPPED"),
    ];
    let commands = table.map(|(order, _, country, _)| arrange(order, country));
    let asked: Vec<Asked<'_>> = commands
        .iter()
        .zip(table)
        .enumerate()
        .map(|(n, (arrange, (_, saga, ..)))| Asked {
            saga: SagaId(Uuid::from_u128(saga)),
            new: ShipmentId(Uuid::from_u128(100 + n as u128)),
            arrange,
        })
        .collect();
    let there = [(OrderId(Uuid::from_u128(9)), existing)].into();
    let now = "2026-11-21T12:00:00Z".parse().unwrap();
    let verdicts = decide(&carriers, there, &asked, now);
    let words = verdicts.iter().map(|verdict| match verdict {
        Verdict::Arranged(shipment) => {
            assert_eq!(shipment.carrier, "Elbe Kurier");
            "arranged"
        }
        Verdict::Already(_) => "already",
        Verdict::Refused(refusal) => refusal.reason.as_str(),
    });
    assert_eq!(words.collect::<Vec<_>>(), table.map(|(.., word)| word));
    assert_eq!(verdicts[1], Verdict::Already(asked[0].new));
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
