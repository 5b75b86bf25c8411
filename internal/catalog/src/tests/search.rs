use palinode_pb::catalog::v1 as pb;

use super::fixture::{Fixture, mug};

async fn found(fixture: &Fixture, query: &str) -> Vec<String> {
    let request = pb::ListProductsRequest {
        query: query.to_owned(),
        ..pb::ListProductsRequest::default()
    };
    fixture.skus(request).await
}

async fn shop() -> Fixture {
    let fixture = Fixture::new().await;
    for (sku, name, description) in [
        (
            "mug-blue",
            "Blue mug",
            "Holds tea, see https://example.org/mugs/blue.html",
        ),
        ("mug-red", "Red mug", "Holds coffee"),
        (
            "scarf-1",
            "Écharpe BLEUE",
            "Für Ärmel & Kragen; 1e5 threads",
        ),
    ] {
        let product = pb::CreateProductRequest {
            name: name.to_owned(),
            description: description.to_owned(),
            ..mug(sku)
        };
        fixture.create(product).await.unwrap();
    }
    fixture
}

#[tokio::test]
async fn all_words_have_to_be_there_and_the_last_may_be_begun() {
    let fixture = shop().await;
    let check = async |query: &str, expect: &[&str]| {
        assert_eq!(found(&fixture, query).await, expect, "{query:?}");
    };
    check("mug", &["mug-blue", "mug-red"]).await;
    check("MUG", &["mug-blue", "mug-red"]).await;
    check("mug blu", &["mug-blue"]).await;
    check("blu mug", &[]).await;
    check("mug-red", &["mug-red"]).await;
    check("coff", &["mug-red"]).await;
    check("tea holds", &["mug-blue"]).await;
    check("html", &["mug-blue"]).await;
    check("echarpe", &[]).await;
    check("ÉCHARPE", &["scarf-1"]).await;
    check("ärm", &["scarf-1"]).await;
    check("1e5", &["scarf-1"]).await;
    check("samovar", &[]).await;
}

#[tokio::test]
async fn whatever_is_typed_is_no_error() {
    let fixture = shop().await;
    let long = "x".repeat(200);
    let many = "a ".repeat(100);
    for hostile in [
        "'",
        "''",
        "\\",
        "\\'",
        "'; DROP TABLE product; --",
        "a & | b",
        "!",
        "!mug",
        "mug & !blue",
        "(mug",
        "mug)",
        "mug <-> blue",
        "mug <2> blue",
        "mug:*",
        "mug:A",
        ":*",
        "$1",
        "%",
        "_",
        "*",
        "\0",
        "mug\0blue",
        "\u{1}\u{7f}",
        "\u{202e}gum",
        "😀",
        "Ω≈ç√∫",
        "İstanbul",
        "क्षत्रिय",
        "日本語",
        "\u{10ffff}",
        "a\u{301}",
        "-1.5e300",
        "1/2",
        "user@example.org",
        "https://example.org/?a=b&c=d",
        long.as_str(),
        many.as_str(),
    ] {
        found(&fixture, hostile).await;
    }
    // what has no words asks for nothing
    assert_eq!(found(&fixture, " -- !!! ").await.len(), 3);
    assert_eq!(found(&fixture, "'mug' & 'red").await, ["mug-red"]);
}

#[tokio::test]
async fn whatever_is_written_into_a_product_can_be_found() {
    let fixture = Fixture::new().await;
    for (number, name) in [
        "😀",
        "İstanbul",
        "日本語",
        "naïve café",
        "'quoted' \\ & | ! : * ( )",
        "v2.0-rc.1",
    ]
    .into_iter()
    .enumerate()
    {
        let product = pb::CreateProductRequest {
            name: name.to_owned(),
            description: "\u{1}".repeat(10) + &"w".repeat(4_000),
            category_id: String::new(),
            ..mug(&format!("sku-{number}"))
        };
        fixture.create(product).await.unwrap();
    }
    assert_eq!(found(&fixture, "istanbul").await, [""; 0], "İ is not i");
    assert_eq!(found(&fixture, "İSTANBUL").await, ["sku-1"]);
    assert_eq!(found(&fixture, "日本").await, ["sku-2"]);
    assert_eq!(found(&fixture, "NAÏVE CAF").await, ["sku-3"]);
    assert_eq!(found(&fixture, "quoted").await, ["sku-4"]);
    assert_eq!(found(&fixture, "v2.0").await, ["sku-5"]);
    assert_eq!(found(&fixture, "rc").await, ["sku-5"]);
}
