//! One mistake is told once, however many there are who call the app.
use lydian_macros as lydian;

#[lydian::app]
pub mod app {
    #[lydian::function]
    pub fn refused(x: usize) -> usize {
        x
    }

    #[lydian::function]
    pub fn square(x: u64) -> u64 {
        x * x
    }

    /// Whose key is not known.
    #[lydian::function(timout = "5s")]
    pub async fn slow(x: u64, y: Option<u64>) -> u64 {
        let own: u64 = square::remote(x).await.unwrap_or_default();
        own + refused::local(3) as u64 + y.unwrap_or_default()
    }

    #[lydian::class]
    pub struct Counter {}

    impl Counter {
        #[lydian::enter]
        fn load() -> Self {
            Self {}
        }

        #[lydian::method]
        fn get(&self, by: u64) -> u64 {
            by
        }
    }
}

async fn calls() -> Option<()> {
    let one: u64 = app::square::remote(4).await?;
    let all: Vec<u64> = app::refused::map(0..4).await?;
    let slow = app::slow::spawn(one, None).await?;
    let got = app::counter::get::remote(all[0]).await?;
    println!("{got} {slow}");
    let mut items = app::square::remote_blocking(3)?;
    while let Some(item) = items.next() {
        println!("{item}");
    }
    drop(app::APP);
    Some(())
}

fn main() {
    drop(calls());
}
