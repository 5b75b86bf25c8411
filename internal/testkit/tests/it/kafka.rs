//! The Kafka launcher.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use palinode_testkit::kafka::{Broker, Error, Options};
use palinode_testkit::{Progress, skipped};

/// A broker, or `None` with the reason printed where the machine cannot run one.
async fn broker(options: Options) -> Option<Broker> {
    match Broker::start(Options {
        progress: Progress::Stderr,
        ..options
    })
    .await
    {
        Ok(broker) => Some(broker),
        Err(error @ (Error::NoJava | Error::OldJava { .. } | Error::NoMaven)) => {
            skipped("kafka::a_broker_starts_survives_a_kill_and_stops", error);
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The cluster id that the broker tells, by a Metadata request of version 4.
fn cluster_id(broker: &Broker) -> String {
    let mut stream = TcpStream::connect(broker.address()).unwrap();
    stream
        .write_all(b"\0\0\0\x0f\0\x03\0\x04\0\0\0\x01\xff\xff\0\0\0\0\0")
        .unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    // Correlation id, throttle time, one broker (id, host, port, no rack), then the cluster id.
    let host_length = usize::from(u16::from_be_bytes([answer[16], answer[17]]));
    let at = 18 + host_length + 4 + 2;
    let length = usize::from(u16::from_be_bytes([answer[at], answer[at + 1]]));
    String::from_utf8(answer[at + 2..at + 2 + length].to_vec()).unwrap()
}

#[tokio::test]
async fn a_broker_starts_survives_a_kill_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        data_dir: Some(folder.path().join("kafka")),
        ..Options::default()
    };
    let Some(mut broker) = broker(options.clone()).await else {
        return;
    };
    let (address, pid, cluster) = (broker.address(), broker.pid(), cluster_id(&broker));

    let refused = Broker::start(options).await.unwrap_err();
    assert!(
        matches!(refused, Error::InUse(_)),
        "one broker a folder: {refused}"
    );

    broker.kill();
    let refused = TcpStream::connect(&address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "it is gone");

    broker.restart().await.unwrap();
    assert_eq!(broker.address(), address, "the same port");
    assert_ne!(broker.pid(), pid, "another process");
    assert_eq!(cluster_id(&broker), cluster, "the same data");

    broker.stop().await;
    let refused = TcpStream::connect(&address).unwrap_err();
    assert_eq!(
        refused.kind(),
        ErrorKind::ConnectionRefused,
        "it is stopped"
    );
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    match Broker::start(Options {
        port: Some(port),
        ..Options::default()
    })
    .await
    {
        Err(Error::PortTaken(named)) => assert_eq!(named, port),
        Err(error @ (Error::NoJava | Error::OldJava { .. } | Error::NoMaven)) => {
            skipped("kafka::a_taken_port_is_named", error);
        }
        other => panic!("{other:?}"),
    }
}
