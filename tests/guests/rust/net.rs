//! Tries to reach the network by every road WASI has.
#![allow(
    clippy::too_many_arguments,
    reason = "generated: one core argument for each half of a string"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};

use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{Fields, Method, OutgoingRequest, Scheme};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;
use wasip2::sockets::network::ErrorCode;

wit_bindgen::generate!({
    inline: r#"
        package test:net;

        world net {
            /// Connects to `host:port`, names included.
            export tcp-connect: func(address: string) -> result<_, string>;
            /// Connects, sends bytes and returns what comes back until the end.
            export exchange: func(address: string, bytes: list<u8>) -> result<list<u8>, string>;
            export tcp-listen: func(address: string) -> result<string, string>;
            export send-udp: func(address: string) -> result<_, string>;
            /// The addresses of a name.
            export resolve: func(name: string) -> result<list<string>, string>;
            /// GET over wasi:http; returns the status.
            export get: func(scheme: string, authority: string, path: string) -> result<u16, string>;
            /// GET with one more header.
            export get-with: func(
                authority: string, path: string, name: string, value: list<u8>,
            ) -> result<u16, string>;
            /// `n` GETs at once; returns how many were answered, and the first refusal.
            export get-many: func(authority: string, n: u32) -> tuple<u32, option<string>>;
            /// Builds `n` headers of `bytes` bytes each; returns how many were accepted.
            export headers: func(n: u32, bytes: u32) -> u32;
        }
    "#,
});

struct Net;

export!(Net);

fn text(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

fn request(
    scheme: &str,
    authority: &str,
    path: &str,
    headers: Fields,
) -> Result<OutgoingRequest, String> {
    let request = OutgoingRequest::new(headers);
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.into()),
    };
    request
        .set_method(&Method::Get)
        .map_err(|()| "bad method")?;
    request
        .set_scheme(Some(&scheme))
        .map_err(|()| "bad scheme")?;
    request
        .set_authority(Some(authority))
        .map_err(|()| "bad authority")?;
    request
        .set_path_with_query(Some(path))
        .map_err(|()| "bad path")?;
    Ok(request)
}

fn status(request: OutgoingRequest) -> Result<u16, String> {
    let response = handle(request, None).map_err(text)?;
    response.subscribe().block();
    let response = response
        .get()
        .ok_or("no response")?
        .map_err(|()| "taken twice")?;
    response.map(|response| response.status()).map_err(text)
}

impl Guest for Net {
    fn tcp_connect(address: String) -> Result<(), String> {
        TcpStream::connect(address).map(drop).map_err(text)
    }

    fn exchange(address: String, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
        let mut stream = TcpStream::connect(address).map_err(text)?;
        stream.write_all(&bytes).map_err(text)?;
        stream.shutdown(std::net::Shutdown::Write).map_err(text)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(text)?;
        Ok(answer)
    }

    fn tcp_listen(address: String) -> Result<String, String> {
        let listener = TcpListener::bind(address).map_err(text)?;
        listener
            .local_addr()
            .map(|address| address.to_string())
            .map_err(text)
    }

    fn send_udp(address: String) -> Result<(), String> {
        let socket = UdpSocket::bind("0.0.0.0:0").map_err(text)?;
        socket.send_to(b"hello", address).map(drop).map_err(text)
    }

    fn resolve(name: String) -> Result<Vec<String>, String> {
        let stream = resolve_addresses(&instance_network(), &name).map_err(text)?;
        let mut found = Vec::new();
        loop {
            match stream.resolve_next_address() {
                Ok(Some(address)) => found.push(text(address)),
                Ok(None) => return Ok(found),
                Err(ErrorCode::WouldBlock) => stream.subscribe().block(),
                Err(error) => return Err(text(error)),
            }
        }
    }

    fn get(scheme: String, authority: String, path: String) -> Result<u16, String> {
        status(request(&scheme, &authority, &path, Fields::new())?)
    }

    fn get_with(
        authority: String,
        path: String,
        name: String,
        value: Vec<u8>,
    ) -> Result<u16, String> {
        let headers = Fields::new();
        headers.append(&name, &value).map_err(text)?;
        status(request("http", &authority, &path, headers)?)
    }

    fn get_many(authority: String, n: u32) -> (u32, Option<String>) {
        let sent: Vec<_> = (0..n)
            .map(|_| {
                request("http", &authority, "/", Fields::new())
                    .and_then(|request| handle(request, None).map_err(text))
            })
            .collect();
        let mut answered = 0;
        let mut refused = None;
        for response in sent {
            let outcome = response.and_then(|response| {
                response.subscribe().block();
                response
                    .get()
                    .ok_or("no response")?
                    .map_err(|()| "taken twice")?
                    .map_err(text)
            });
            match outcome {
                Ok(_) => answered += 1,
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        (answered, refused)
    }

    fn headers(n: u32, bytes: u32) -> u32 {
        let headers = Fields::new();
        let value = vec![b'v'; bytes as usize];
        (0..n)
            .take_while(|at| headers.append(&format!("name-{at}"), &value).is_ok())
            .count() as u32
    }
}
