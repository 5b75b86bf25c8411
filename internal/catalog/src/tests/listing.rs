use std::collections::BTreeSet;

use palinode_pb::catalog::v1 as pb;
use palinode_pb::catalog::v1::{ListProductsRequest, ProductSort};
use palinode_values::ErrorCode;

use super::fixture::{Fixture, eur, mug, refusal};

const SORTS: [ProductSort; 6] = [
    ProductSort::Unspecified,
    ProductSort::Name,
    ProductSort::NameDescending,
    ProductSort::Price,
    ProductSort::PriceDescending,
    ProductSort::Newest,
];

fn sorted(sort: ProductSort) -> ListProductsRequest {
    ListProductsRequest {
        sort: sort.into(),
        ..ListProductsRequest::default()
    }
}

/// Every page to the end; `between` is called after each.
async fn pages(
    fixture: &Fixture,
    request: &ListProductsRequest,
    mut between: impl AsyncFnMut(usize),
) -> Vec<pb::Product> {
    let mut all = Vec::new();
    let mut request = request.clone();
    for number in 0.. {
        let page = fixture.list(request.clone()).await.unwrap();
        assert!(page.products.len() <= usize::try_from(request.page_size).unwrap());
        all.extend(page.products);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        between(number).await;
    }
    all
}

/// Twelve products: names and prices that are the same more than once, created two at a time.
async fn shop() -> Fixture {
    let fixture = Fixture::new().await;
    for number in 0..12_i64 {
        let product = pb::CreateProductRequest {
            name: ["apple", "Ärmel", "Banana", "zebra"][usize::try_from(number % 4).unwrap()]
                .to_owned(),
            price: Some(eur(100 * (number % 3 + 1))),
            category_id: if number % 2 == 0 { "kitchen" } else { "" }.to_owned(),
            ..mug(&format!("sku-{number:02}"))
        };
        fixture.create(product).await.unwrap();
    }
    fixture
        .change(
            "UPDATE product SET created_at = '2026-01-01'::timestamptz
               + make_interval(mins => substr(sku, 5)::int / 2)",
        )
        .await;
    fixture
}

#[tokio::test]
async fn pages_of_every_sort_have_all_products_once_and_in_order() {
    let fixture = shop().await;
    for sort in SORTS {
        for page_size in [1, 2, 5, 12, 13] {
            let request = ListProductsRequest {
                page_size,
                ..sorted(sort)
            };
            let all = pages(&fixture, &request, async |_| {}).await;
            let skus: BTreeSet<&str> = all.iter().map(|p| p.sku.as_str()).collect();
            assert_eq!((all.len(), skus.len()), (12, 12), "{sort:?} {page_size}");
            let in_order = all.windows(2).all(|pair| {
                let (one, next) = (&pair[0], &pair[1]);
                let name = |p: &pb::Product| (p.name.to_lowercase(), p.product_id.clone());
                let price = |p: &pb::Product| {
                    let price = p.price.clone().unwrap();
                    ((price.units, price.nanos), p.product_id.clone())
                };
                let age = |p: &pb::Product| {
                    let at = p.created_at.unwrap();
                    ((at.seconds, at.nanos), p.product_id.clone())
                };
                match sort {
                    ProductSort::Unspecified | ProductSort::Name => name(one) < name(next),
                    ProductSort::NameDescending => name(one) > name(next),
                    ProductSort::Price => price(one) < price(next),
                    ProductSort::PriceDescending => price(one) > price(next),
                    ProductSort::Newest => age(one) > age(next),
                }
            });
            assert!(in_order, "{sort:?} {page_size}: {all:#?}");
        }
    }
    let names = fixture.list(sorted(ProductSort::Name)).await.unwrap();
    let names: BTreeSet<String> = names.products.into_iter().map(|p| p.name).collect();
    assert_eq!(names.len(), 4);
}

#[tokio::test]
async fn what_stays_is_listed_once_while_others_come_and_go() {
    for sort in SORTS {
        let fixture = shop().await;
        let all = fixture.list(sorted(sort)).await.unwrap().products;
        let request = ListProductsRequest {
            page_size: 3,
            ..sorted(sort)
        };
        // one goes that was shown last, which the token stands for, and one that is still to come
        let gone = [&all[2], &all[8]];
        let shown = pages(&fixture, &request, async |number| {
            if number == 0 {
                for product in gone {
                    fixture.delete(&product.product_id).await.unwrap();
                }
            }
            fixture.create(mug(&format!("new-{number}"))).await.unwrap();
        })
        .await;
        let stayed = |product: &&pb::Product| !product.sku.starts_with("new");
        let shown: Vec<_> = shown.iter().filter(stayed).map(|p| &p.sku).collect();
        let expect = all.iter().filter(|p| p.sku != all[8].sku);
        assert_eq!(
            shown,
            expect.map(|p| &p.sku).collect::<Vec<_>>(),
            "{sort:?}"
        );
    }
}

#[tokio::test]
async fn filters_are_all_kept_in_every_sort() {
    let fixture = shop().await;
    for sort in SORTS {
        let request = ListProductsRequest {
            category_id: "kitchen".to_owned(),
            min_price_minor: 200,
            max_price_minor: 300,
            query: "banana".to_owned(),
            page_size: 1,
            ..sorted(sort)
        };
        let found = pages(&fixture, &request, async |_| {}).await;
        let found: BTreeSet<_> = found.into_iter().map(|p| p.sku).collect();
        // even, 2 mod 4, not 0 mod 3
        assert_eq!(
            found,
            BTreeSet::from(["sku-02".into(), "sku-10".into()]),
            "{sort:?}"
        );
    }
    let count = async |request| fixture.skus(request).await.len();
    let all = ListProductsRequest::default();
    let kitchen = ListProductsRequest {
        category_id: "kitchen".to_owned(),
        ..all.clone()
    };
    assert_eq!(count(kitchen).await, 6);
    let nowhere = ListProductsRequest {
        category_id: "nowhere".to_owned(),
        ..all.clone()
    };
    assert_eq!(count(nowhere).await, 0);
    let cheap = ListProductsRequest {
        max_price_minor: 100,
        ..all.clone()
    };
    assert_eq!(count(cheap).await, 4);
    let dear = ListProductsRequest {
        min_price_minor: 300,
        ..all
    };
    assert_eq!(count(dear).await, 4);
}

#[tokio::test]
async fn a_page_has_fifty_unless_it_is_told_otherwise() {
    let fixture = Fixture::new().await;
    for number in 0..51 {
        fixture.create(mug(&format!("sku-{number}"))).await.unwrap();
    }
    let page = fixture.list(ListProductsRequest::default()).await.unwrap();
    assert_eq!(page.products.len(), 50);
    let rest = fixture
        .list(ListProductsRequest {
            page_token: page.next_page_token,
            // the size of a page is no part of what is listed
            page_size: 200,
            ..ListProductsRequest::default()
        })
        .await
        .unwrap();
    assert_eq!(
        (rest.products.len(), rest.next_page_token.as_str()),
        (1, "")
    );
}

#[tokio::test]
async fn a_token_of_another_list_is_refused_and_so_is_what_is_none() {
    let fixture = shop().await;
    let first = ListProductsRequest {
        page_size: 2,
        query: "a".to_owned(),
        ..ListProductsRequest::default()
    };
    let token = fixture.list(first.clone()).await.unwrap().next_page_token;
    let next = ListProductsRequest {
        page_token: token,
        ..first
    };
    assert!(fixture.list(next.clone()).await.is_ok());
    let others = [
        ListProductsRequest {
            sort: ProductSort::NameDescending.into(),
            ..next.clone()
        },
        ListProductsRequest {
            query: "b".to_owned(),
            ..next.clone()
        },
        ListProductsRequest {
            query: String::new(),
            category_id: "a".to_owned(),
            ..next.clone()
        },
        ListProductsRequest {
            min_price_minor: 1,
            ..next.clone()
        },
        ListProductsRequest {
            max_price_minor: 1,
            ..next.clone()
        },
    ];
    let invalid = refusal(ErrorCode::Invalid, "INVALID_REQUEST");
    for other in others {
        assert_eq!(fixture.list(other.clone()).await, invalid, "{other:?}");
    }
    for sort in SORTS {
        let good = fixture.list(ListProductsRequest {
            page_size: 2,
            ..sorted(sort)
        });
        let good = good.await.unwrap().next_page_token;
        // bytes that PostgreSQL does not take, moments that it has not, and what is cut off
        let zeros = good[..34].to_owned() + &"A".repeat(11);
        let ones = good[..34].to_owned() + "__________8";
        for bad in [
            "!",
            "a",
            "AAAA",
            &good[1..],
            &good[..good.len() - 1],
            &zeros,
            &ones,
        ] {
            let request = ListProductsRequest {
                page_token: bad.to_owned(),
                ..sorted(sort)
            };
            // told, or read as another place of the same list: never a failure
            if let Err(error) = fixture.list(request).await {
                assert_eq!(error.0, ErrorCode::Invalid, "{sort:?} {bad}");
            }
        }
    }
    let turned = ListProductsRequest {
        min_price_minor: 3,
        max_price_minor: 2,
        ..ListProductsRequest::default()
    };
    assert_eq!(fixture.list(turned).await, invalid);
}

/// A page is read from an index, in its order, however large the shop is.
#[tokio::test]
async fn every_sort_has_an_index_with_and_without_a_category() {
    let fixture = Fixture::new().await;
    fixture
        .change(
            "INSERT INTO product (id, sku, name, description, category_id, price_minor, currency,
                                  picture_url, sort_name, sought, created_at)
             SELECT gen_random_uuid(), 'sku-' || n, 'n' || n, '', CASE WHEN n % 2 = 0 THEN 'kitchen' END,
                    n, 'EUR', '', 'n' || n, 'n' || n, now() - make_interval(mins => n)
               FROM generate_series(1, 5000) AS n",
        )
        .await;
    fixture.change("ANALYZE product").await;
    for (filter, of) in [("", ""), ("AND category_id = 'kitchen'", "of_category_")] {
        for (key, kind, last) in [
            ("sort_name", "name", "'n3'"),
            ("price_minor", "price", "300"),
            ("created_at", "age", "now() - interval '1 day'"),
        ] {
            for (direction, compare) in [("", ">"), ("DESC", "<")] {
                let plan = format!(
                    "EXPLAIN SELECT * FROM product WHERE deleted_at IS NULL {filter}
                        AND ({key}, id) {compare} ({last}, '0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42')
                      ORDER BY {key} {direction}, id {direction} LIMIT 51"
                );
                let rows = fixture.rows(&plan).await;
                let plan: Vec<String> = rows.iter().map(|row| sqlx::Row::get(row, 0)).collect();
                let plan = plan.join("\n");
                assert!(plan.contains(&format!("product_{of}by_{kind}")), "{plan}");
                assert!(plan.contains(&format!("ROW({key}, id)")), "{plan}");
                assert!(!plan.contains("Sort"), "{plan}");
            }
        }
    }
}
