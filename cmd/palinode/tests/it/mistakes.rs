//! What a user gets wrong is told with the way out.

use std::fs;
use std::net::TcpListener;

use crate::shop::Shop;
use crate::tool::{SOON, Tool, run};

#[tokio::test]
async fn a_taken_port_is_named_with_the_option_for_another() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let dev = run(&["dev", "--port", &port]).await.with(1);
    dev.complains(&["gateway cannot listen", &port, "give another --port"]);

    let address = format!("127.0.0.1:{port}");
    let serve = run(&["serve", "gateway", "--listen", &address]).await;
    serve
        .with(1)
        .complains(&["gateway cannot listen", &address]);
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_one_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "a thesis").unwrap();
    for (data_dir, words) in [
        (&*file, "choose another folder"),
        (
            folder.path(),
            "is not empty and is no data folder of Palinode's",
        ),
    ] {
        let data_dir = data_dir.to_str().unwrap();
        let dev = run(&["dev", "--port", "0", "--data-dir", data_dir]).await;
        dev.with(1).complains(&[data_dir, words]);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "a thesis");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn what_does_not_answer_is_named() {
    // nothing listens at port 1
    let nobody = "127.0.0.1:1";
    let url = format!("http://{nobody}");
    let database = format!("postgres://palinode:secret@{nobody}");
    for (arguments, words) in [
        (
            &["dev", "--port", "0", "--kafka", nobody][..],
            "no Kafka broker answers at 127.0.0.1:1",
        ),
        (
            &["demo", "--kafka", nobody],
            "no Kafka broker answers at 127.0.0.1:1",
        ),
        (
            &["saga", "list", "--server", &url],
            "the gateway at http://127.0.0.1:1 does not answer",
        ),
        (
            &["demo", "--server", &url],
            "the gateway at http://127.0.0.1:1 does not answer",
        ),
        (
            &["dev", "--port", "0", "--database-url", &database],
            "127.0.0.1:1",
        ),
        (&["migrate", "--database-url", &database], "127.0.0.1:1"),
        (
            &[
                "serve",
                "order",
                "--listen",
                "127.0.0.1:0",
                "--database-url",
                &database,
            ],
            "127.0.0.1:1",
        ),
    ] {
        let ended = run(arguments).await.with(1);
        ended.complains(&[words]);
        assert!(!ended.stderr.contains("secret"), "{ended}");
    }
}

#[tokio::test]
async fn binaries_that_are_not_there_are_named_with_the_variable() {
    let nowhere = [("PALINODE_PG_BIN", "/nonexistent")];
    let dev = Tool::start_with(&["dev", "--port", "0"], &nowhere);
    let dev = dev.ended(SOON).await.with(1);
    dev.complains(&["no working `postgres`", "/nonexistent", "PALINODE_PG_BIN"]);
}

#[tokio::test]
async fn a_saga_that_is_none_is_told_apart_from_one_that_is_not_there() {
    let word = run(&["saga", "show", "the-first"]).await.with(1);
    word.complains(&["\"the-first\" is no SagaId", "`palinode saga list`"]);
    run(&["saga", "list", "--server", "localhost"])
        .await
        .with(1)
        .complains(&["http://"]);
}

#[tokio::test]
async fn the_line_is_checked_before_anything_starts() {
    for (arguments, words) in [
        (&["demo", "--orders", "0"][..], "--orders"),
        (
            &["demo", "--embedded", "--kafka", "127.0.0.1:9092"],
            "cannot be used with",
        ),
        (
            &["demo", "--chaos", "--server", "http://127.0.0.1:1"],
            "cannot be used with",
        ),
        (&["dev", "--port", "70000"], "--port"),
        (&["saga", "list", "--state", "lost"], "needs-attention"),
        (&["saga", "list", "--limit", "1000"], "--limit"),
        (
            &[
                "saga",
                "bulk",
                "pause",
                "--older-than",
                "10x",
                "--reason",
                "r",
            ],
            "such as 10m",
        ),
        (
            &["saga", "bulk", "migrate", "--held", "--reason", "r"],
            "--to <VERSION>",
        ),
        (&["migrate"], "--database-url"),
        (&["nonsense"], "nonsense"),
    ] {
        run(arguments).await.with(64).complains(&[words]);
    }
}

#[tokio::test]
async fn a_saga_that_cannot_be_started_is_told_why() {
    let shop = Shop::shared().await;
    let token = shop.token().await;
    for (plan, input, words) in [
        ("place-odor", "{}", "there are: place-order@1"),
        ("place-order@1", "{}", "say place-order, without a version"),
        ("place-order", "{}", "opened by its starter"),
        ("place-order", "{", "the input is no JSON"),
        (
            "place-order",
            "7",
            "the fields of palinode.order.v1.PlaceOrder",
        ),
        (
            "place-order",
            r#"{"lines": [{"quantity": "x"}], "user": "carol"}"#,
            "input.lines[0].quantity must be a 32-bit integer; input.user is not a known field",
        ),
    ] {
        let line = ["saga", "start", plan, "--key", "k", "--input", input];
        let at = ["--server", shop.gateway.server(), "--token", &token];
        let line = [&line[..], &at].concat();
        run(&line).await.with(1).complains(&[words]);
    }
}

#[tokio::test]
async fn every_command_shows_an_example() {
    for command in [
        &["dev"][..],
        &["serve"],
        &["stack"],
        &["migrate"],
        &["demo"],
        &["saga"],
        &["saga", "list"],
        &["saga", "start"],
        &["saga", "show"],
        &["saga", "history"],
        &["saga", "bulk"],
        &["saga", "bulks"],
        &["saga", "migrate"],
        &["plan", "migrate"],
    ] {
        let help = run(&[command, &["--help"]].concat()).await.with(0).stdout;
        let example = format!("  palinode {}", command.join(" "));
        assert!(
            help.contains("Example") && help.contains(&example),
            "{help}"
        );
    }
}
