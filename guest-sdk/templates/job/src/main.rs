//! Starts the job in parts, and waits for them.

/// Counts the primes below a number, in eight parts.
#[lydian::local_entrypoint]
async fn main(below: u64) -> lydian::Result<()> {
    use std::time::Duration;

    use {{crate}}::app;

    let step = below.div_ceil(8).max(1);
    let mut parts = Vec::new();
    for from in (0..below).step_by(step as usize) {
        parts.push(app::count::spawn(from, (from + step).min(below)).await?);
    }
    let mut primes = 0;
    for part in parts {
        // The id is all that is needed to ask again later, from anywhere.
        println!("waiting for {}", part.id());
        primes += part.get(Duration::from_secs(600)).await?;
    }
    println!("{primes} primes below {below}");
    Ok(())
}
