//! Opens sockets and connections by every road WASI has, and keeps them.

use std::cell::RefCell;
use std::io::Read;
use std::net::TcpStream;

use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{ErrorCode, Fields, IncomingResponse, OutgoingRequest, Scheme};
use wasip2::sockets::network::IpAddressFamily;
use wasip2::sockets::udp_create_socket::create_udp_socket;
use wasip3::sockets::types as p3;

wit_bindgen::generate!({
    inline: r#"
        package test:sockets;

        world sockets {
            /// How many it got, and why there were no more.
            type got = tuple<u32, option<string>>;

            /// Connects `n` times to `host:port` and closes nothing.
            export tcp: func(address: string, n: u32) -> got;
            /// The same over WASI 0.3, to a port of 127.0.0.1.
            export tcp-async: async func(port: u16, n: u32) -> got;
            /// Drops each socket and keeps what it receives from it.
            export tcp-streams: async func(port: u16, n: u32) -> got;
            export udp: func(n: u32) -> got;
            export udp-async: async func(n: u32) -> got;
            /// Sends `n` requests and keeps the responses without reading them.
            export http: func(authority: string, n: u32) -> got;
            /// Connects and closes `n` times, one at a time.
            export churn: func(address: string, n: u32) -> got;
            /// The same over WASI 0.3: sends a byte and reads the beginning of the answer, with streams that outlive the socket.
            export churn-async: async func(port: u16, n: u32) -> got;
            /// Keeps `n` connections, without failing for want of one; if it is to wait, until the peer ends the first.
            export hold: func(address: string, n: u32, wait: bool) -> got;
        }
    "#,
});

struct Sockets;

export!(Sockets);

fn times<T, E: std::fmt::Debug>(
    n: u32,
    open: impl Fn() -> Result<T, E>,
    keep: impl Fn(T),
) -> (u32, Option<String>) {
    for got in 0..n {
        match open() {
            Ok(opened) => keep(opened),
            Err(error) => return (got, Some(format!("{error:?}"))),
        }
    }
    (n, None)
}

async fn connect(port: u16) -> Result<p3::TcpSocket, p3::ErrorCode> {
    let socket = p3::TcpSocket::create(p3::IpAddressFamily::Ipv4)?;
    let address = (127, 0, 0, 1);
    let to = p3::IpSocketAddress::Ipv4(p3::Ipv4SocketAddress { port, address });
    socket.connect(to).await?;
    Ok(socket)
}

async fn exchange(port: u16) -> Result<(), p3::ErrorCode> {
    let socket = connect(port).await?;
    let (mut sending, data) = wasip3::wit_stream::new();
    let sent = socket.send(data);
    let (mut receiving, _received) = socket.receive();
    drop(socket);
    sending.write_all(vec![b'x']).await;
    drop(sending);
    sent.await?;
    receiving.read(Vec::with_capacity(10)).await;
    Ok(())
}

async fn times_async(n: u32, port: u16, keep: impl Fn(p3::TcpSocket)) -> (u32, Option<String>) {
    for got in 0..n {
        match connect(port).await {
            Ok(socket) => keep(socket),
            Err(error) => return (got, Some(format!("{error:?}"))),
        }
    }
    (n, None)
}

fn respond(authority: &str) -> Result<IncomingResponse, ErrorCode> {
    let request = OutgoingRequest::new(Fields::new());
    request
        .set_scheme(Some(&Scheme::Http))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some("/")))
        .map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    let response = handle(request, None)?;
    response.subscribe().block();
    match response.get() {
        Some(Ok(response)) => response,
        _ => Err(ErrorCode::HttpResponseIncomplete),
    }
}

impl Guest for Sockets {
    fn tcp(address: String, n: u32) -> (u32, Option<String>) {
        times(n, || TcpStream::connect(&address), std::mem::forget)
    }

    async fn tcp_async(port: u16, n: u32) -> (u32, Option<String>) {
        times_async(n, port, std::mem::forget).await
    }

    async fn tcp_streams(port: u16, n: u32) -> (u32, Option<String>) {
        times_async(n, port, |socket| std::mem::forget(socket.receive())).await
    }

    fn udp(n: u32) -> (u32, Option<String>) {
        times(
            n,
            || create_udp_socket(IpAddressFamily::Ipv4),
            std::mem::forget,
        )
    }

    async fn udp_async(n: u32) -> (u32, Option<String>) {
        let open = || p3::UdpSocket::create(p3::IpAddressFamily::Ipv4);
        times(n, open, std::mem::forget)
    }

    fn http(authority: String, n: u32) -> (u32, Option<String>) {
        times(n, || respond(&authority), std::mem::forget)
    }

    fn churn(address: String, n: u32) -> (u32, Option<String>) {
        times(n, || TcpStream::connect(&address), drop)
    }

    async fn churn_async(port: u16, n: u32) -> (u32, Option<String>) {
        for got in 0..n {
            if let Err(error) = exchange(port).await {
                return (got, Some(format!("{error:?}")));
            }
        }
        (n, None)
    }

    fn hold(address: String, n: u32, wait: bool) -> (u32, Option<String>) {
        let kept = RefCell::new(Vec::new());
        let open = || TcpStream::connect(&address);
        let got = times(n, open, |stream| kept.borrow_mut().push(stream));
        if let Some(first) = kept.borrow_mut().first_mut().filter(|_| wait) {
            let _ = first.read(&mut [0]);
        }
        std::mem::forget(kept);
        got
    }
}
