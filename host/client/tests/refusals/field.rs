use lydian_client::Wit;

struct Opaque;

#[derive(Wit)]
struct Holder {
    opaque: Opaque,
}

fn main() {}
