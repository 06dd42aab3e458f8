lydian_client::bindgen!({ inline: "package a:b; world w { export f: fnc(); }" });

lydian_client::bindgen!({ inline: "package a:b; world w {}", world: "v" });

lydian_client::bindgen!({ inlin: "package a:b;" });

lydian_client::bindgen!("no/such/wit");

lydian_client::bindgen!({ inline: "package a:b; world w { export f: func(s: stream<u8>); }" });

fn main() {}
