//! How clients begin, well and badly.

use crate::lab::*;
use pgflex::domain::route::RouteState;
use pgflex::gateway::Limits;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

const STARTUP: [u8; 16] = [0, 0, 0, 16, 0, 3, 0, 0, b'u', b's', b'e', b'r', 0, b'x', 0, 0];

#[tokio::test]
async fn an_ssl_request_byte_by_byte_leads_to_the_server() {
    let lab = Lab::start().await;
    let (id, port) = lab.server("demo", Some(echo_server(b'a').await)).await;
    let mut stream = connect(port).await;
    for byte in SSL_REQUEST {
        stream.write_all(&[byte]).await.unwrap();
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(read(&mut stream, 2).await, b"Sa");
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut stream, 5).await, b"hello");
    assert_eq!(lab.stats.open(&id), 1);
}

#[tokio::test]
async fn direct_tls_is_passed_on_after_our_own_ssl_request() {
    let lab = Lab::start().await;
    let (_, port) = lab.server("demo", Some(echo_server(b'a').await)).await;
    for (port, name) in [(port, "other"), (lab.shared_port, "demo.pgflex.localhost")] {
        let hello = client_hello(name);
        let mut stream = connect(port).await;
        stream.write_all(&hello).await.unwrap();
        assert_eq!(read(&mut stream, 1).await, b"a");
        assert_eq!(read(&mut stream, hello.len()).await, hello);
    }
}

#[tokio::test]
async fn encryption_by_gssapi_is_declined_and_tls_may_follow() {
    let lab = Lab::start().await;
    let (_, port) = lab.server("demo", Some(echo_server(b'a').await)).await;
    let gss = [0, 0, 0, 8, 4, 210, 22, 48];
    let mut stream = connect(port).await;
    stream.write_all(&gss).await.unwrap();
    assert_eq!(read(&mut stream, 1).await, b"N");
    stream.write_all(&SSL_REQUEST).await.unwrap();
    assert_eq!(read(&mut stream, 2).await, b"Sa");
    // Bytes that come along with the question are not answered as if they had come after it.
    let mut stream = connect(port).await;
    stream.write_all(&[gss, SSL_REQUEST].concat()).await.unwrap();
    assert_eq!(error_of(&read_to_end(&mut stream).await).0, "08P01");
}

#[tokio::test]
async fn bytes_glued_to_the_ssl_request_are_refused() {
    let lab = Lab::start().await;
    let (_, port) = lab.server("demo", Some(echo_server(b'a').await)).await;
    for port in [port, lab.shared_port] {
        let mut stream = connect(port).await;
        stream.write_all(&[&SSL_REQUEST[..], b"x"].concat()).await.unwrap();
        assert_eq!(error_of(&read_to_end(&mut stream).await).0, "08P01");
    }
    assert_eq!(lab.refused("malformed"), 2);
}

#[tokio::test]
async fn plain_text_is_refused_with_a_clear_message() {
    let lab = Lab::start().await;
    let (id, port) = lab.server("demo", Some(echo_server(b'a').await)).await;
    for port in [port, lab.shared_port] {
        let mut stream = connect(port).await;
        stream.write_all(&STARTUP).await.unwrap();
        let told = error_of(&read_to_end(&mut stream).await);
        assert_eq!(told, ("28000".into(), "connections must use TLS".into()));
    }
    // To whom the rules admit nobody, TLS is no help.
    lab.forbid(&id).await;
    let mut stream = connect(port).await;
    stream.write_all(&STARTUP).await.unwrap();
    let (state, text) = error_of(&read_to_end(&mut stream).await);
    assert_eq!(state, "28000");
    assert_eq!(text, "no firewall rule of server \"demo\" admits the address 127.0.0.1");
}

/// The start-up message goes on as it is, and a connection without TLS ends when TLS is required again.
#[tokio::test]
async fn plain_text_passes_on_the_dedicated_port_of_a_server_that_does_not_require_tls() {
    let lab = Lab::start().await;
    let (id, port) = lab.server("demo", Some(plain_server().await)).await;
    lab.require_tls(&id, false).await;
    let mut stream = connect(port).await;
    let (head, tail) = STARTUP.split_at(5);
    stream.write_all(head).await.unwrap();
    sleep(Duration::from_millis(20)).await;
    stream.write_all(&[tail, b"more"].concat()).await.unwrap();
    assert_eq!(read(&mut stream, 20).await, [&STARTUP[..], b"more"].concat());
    assert_eq!(lab.stats.open(&id), 1);
    // There is no name without TLS.
    let mut shared = connect(lab.shared_port).await;
    shared.write_all(&STARTUP).await.unwrap();
    let told = error_of(&read_to_end(&mut shared).await);
    assert_eq!(told, ("28000".into(), "connections must use TLS".into()));
    // The rules come first here too.
    lab.require_tls(&id, true).await;
    assert_eq!(read_to_end(&mut stream).await, b"", "it was cut");
    let mut stream = connect(port).await;
    stream.write_all(&STARTUP).await.unwrap();
    assert_eq!(error_of(&read_to_end(&mut stream).await).1, "connections must use TLS");
}

#[tokio::test]
async fn what_is_not_the_protocol_is_refused() {
    let lab = Lab::start().await;
    let (_, port) = lab.server("demo", Some(echo_server(b'a').await)).await;
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0, 0, 4], &[0, 0, 39, 17, 0, 3, 0, 0]] {
        let mut stream = connect(port).await;
        stream.write_all(bytes).await.unwrap();
        assert_eq!(error_of(&read_to_end(&mut stream).await).0, "08P01");
    }
    // A ClientHello that never ends: 60,000 bytes were announced, and there is a limit of 32 KiB.
    let mut stream = tls_asked_without_answer(lab.shared_port).await;
    let mut record = vec![0x16, 3, 1, 0x3e, 0x80, 1, 0, 0xea, 0x60];
    record.resize(5 + 16_000, 7);
    for _ in 0..3 {
        let _ = stream.write_all(&record).await;
        record[5..].fill(7);
    }
    assert_eq!(read_to_end(&mut stream).await, b"S\x15\x03\x03\0\x02\x02\x50");
    // A broken one.
    let mut stream = tls_asked_without_answer(lab.shared_port).await;
    stream.write_all(b"\x16\x03\x01\0\x05\x07hello").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, b"S\x15\x03\x03\0\x02\x02\x50");
}

/// The answer is still to be read.
async fn tls_asked_without_answer(port: u16) -> tokio::net::TcpStream {
    let mut stream = connect(port).await;
    stream.write_all(&SSL_REQUEST).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    stream
}

#[tokio::test]
async fn slow_openings_are_ended() {
    let lab = Lab::start().await;
    let (_, port) = lab.server("demo", Some(echo_server(b'a').await)).await;
    let begun = Instant::now();
    let mut silent = connect(port).await;
    let mut slow = connect(port).await;
    slow.write_all(&SSL_REQUEST[..5]).await.unwrap();
    let mut hello = tls_asked(lab.shared_port).await;
    hello.write_all(&client_hello("demo.pgflex.localhost")[..50]).await.unwrap();
    assert_eq!(error_of(&read_to_end(&mut silent).await).0, "08P01");
    assert_eq!(error_of(&read_to_end(&mut slow).await).0, "08P01");
    read_to_end(&mut hello).await;
    assert!(begun.elapsed() < Duration::from_secs(4));
    assert_eq!(lab.refused("too_slow"), 3);
}

#[tokio::test]
async fn names_decide_on_the_shared_port() {
    let lab = Lab::start().await;
    let (one, _) = lab.server("one", Some(echo_server(b'1').await)).await;
    lab.server("two", Some(echo_server(b'2').await)).await;
    for (name, letter) in [("one.pgflex.localhost", b"1"), ("TWO.pgflex.localhost", b"2")] {
        let hello = client_hello(name);
        let mut stream = tls_asked(lab.shared_port).await;
        // Piece by piece.
        for piece in hello.chunks(40) {
            stream.write_all(piece).await.unwrap();
            sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(read(&mut stream, 1).await, letter);
        assert_eq!(read(&mut stream, hello.len()).await, hello);
    }
    for (name, kind) in [("three.pgflex.localhost", "unknown_name"), ("127.0.0.1", "no_name")] {
        let mut stream = tls_asked(lab.shared_port).await;
        stream.write_all(&client_hello(name)).await.unwrap();
        // TLS's own word for it: unrecognized_name.
        assert_eq!(read_to_end(&mut stream).await, [0x15, 3, 3, 0, 2, 2, 112]);
        assert_eq!(lab.refused(kind), 1);
    }
    lab.forbid(&one).await;
    let mut stream = tls_asked(lab.shared_port).await;
    stream.write_all(&client_hello("one.pgflex.localhost")).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, [0x15, 3, 3, 0, 2, 2, 49]);
}

#[tokio::test]
async fn one_address_and_the_gateway_have_limits() {
    let limits = Limits { address_connections_max: 3, openings_max: 2, ..short_limits() };
    let lab = Lab::with(limits, 0).await;
    let (_, port) = lab.server("demo", Some(echo_server(b'a').await)).await;
    let mut open = vec![];
    for _ in 0..3 {
        let mut stream = tls_asked(port).await;
        assert_eq!(read(&mut stream, 1).await, b"a");
        open.push(stream);
    }
    let mut fourth = connect(port).await;
    assert_eq!(error_of(&read_to_end(&mut fourth).await).0, "53300");
    assert_eq!(lab.refused("address_full"), 1);
    open.truncate(1);
    sleep(Duration::from_millis(200)).await;
    let _opening = [connect(port).await, connect(port).await];
    sleep(Duration::from_millis(50)).await;
    let mut third = connect(port).await;
    assert_eq!(error_of(&read_to_end(&mut third).await).0, "53300");
    assert_eq!(lab.refused("gateway_full") + lab.refused("address_full"), 2);
}

#[tokio::test]
async fn a_cancel_request_reaches_the_server_only_past_the_rules() {
    let lab = Lab::start().await;
    let (id, port) = lab.server("demo", Some(echo_server(b'a').await)).await;
    let cancel = [0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 1, 0, 0, 0, 2];
    let mut stream = connect(port).await;
    stream.write_all(&cancel).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, b"");
    assert_eq!(lab.stats.cancels(), 1);
    // The shared port cannot know whose it is.
    let mut stream = connect(lab.shared_port).await;
    stream.write_all(&cancel).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, b"");
    lab.forbid(&id).await;
    let mut stream = connect(port).await;
    stream.write_all(&cancel).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, b"");
    assert_eq!((lab.stats.cancels(), lab.refused("not_admitted")), (1, 1));
    lab.set_route(&id, None, RouteState::Closed).await;
}
