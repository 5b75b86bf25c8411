use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::edge::Edge;

#[tokio::test]
async fn who_says_nothing_is_not_listened_to_for_ever() {
    let edge = Edge::alone_with(&[]).await;
    let mut connections = Vec::new();
    for said in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: localhost\r\n"] {
        let mut plain = TcpStream::connect(edge.address()).await.unwrap();
        plain.write_all(said.as_bytes()).await.unwrap();
        connections.push(plain);
    }
    for mut plain in connections {
        let limit = Duration::from_secs(60);
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(limit, plain.read_to_end(&mut answer)).await;
        closed.expect("it is closed").ok();
        assert_eq!(answer, b"");
    }
    edge.stop().await;
}
