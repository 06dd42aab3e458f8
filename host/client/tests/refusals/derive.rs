use lydian_client::Wit;

#[derive(Wit)]
struct Tuple(u32);

#[derive(Wit)]
struct Borrowed<'a> {
    text: &'a str,
}

#[derive(Wit)]
struct Node {
    value: u32,
    children: Vec<Node>,
}

#[derive(Wit)]
enum Shape {
    Circle { radius: f64 },
}

#[derive(Wit)]
#[wit(flags)]
struct Rights {
    read: bool,
    level: u8,
}

#[derive(Wit)]
struct Named {
    #[wit(name = "not a name")]
    field: u32,
}

#[derive(Wit)]
struct Misspelt {
    #[wit(rename = "other")]
    field: u32,
}

fn main() {}
