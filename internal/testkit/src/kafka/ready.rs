//! Asking a broker whether it serves, in Kafka's own words but without a client.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A Metadata request, version 4, for no topic. Source: the protocol guide of Apache Kafka.
const REQUEST: [u8; 19] = [
    0, 0, 0, 15, // bytes that follow
    0, 3, // API key: Metadata
    0, 4, // version
    0, 0, 0, 1, // correlation id
    0xff, 0xff, // no client id
    0, 0, 0, 0, // no topics
    0, // do not create any
];

/// A broker that is starting may accept the connection and stay silent.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// True when the broker on this port answers and knows of a broker, itself.
pub(super) async fn answers(port: u16) -> bool {
    timeout(ANSWER_LIMIT, brokers(port))
        .await
        .is_ok_and(|count| count.is_ok_and(|n| n > 0))
}

/// How many brokers the metadata lists.
async fn brokers(port: u16) -> std::io::Result<i32> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(&REQUEST).await?;
    let _length = stream.read_i32().await?;
    let _correlation_id = stream.read_i32().await?;
    let _throttle_ms = stream.read_i32().await?;
    stream.read_i32().await
}
