//! What stands in the parentheses.
#![allow(dead_code, non_snake_case, unused_variables)]
use lydian_macros as lydian;

#[lydian::app]
mod app {
    #[lydian::function(timout = "10s")]
    pub fn misspelt() {}

    #[lydian::function(colour = "red")]
    pub fn unknown() {}

    #[lydian::function(timeout = "10 seconds")]
    pub fn bad_duration() {}

    #[lydian::function(timeout = 10)]
    pub fn bare_duration() {}

    #[lydian::function(timeout = "0s")]
    pub fn no_duration() {}

    #[lydian::function(memory = "512 megabytes")]
    pub fn bad_size() {}

    #[lydian::function(handles = 0)]
    pub fn bad_count() {}

    #[lydian::function(secrets = "hub")]
    pub fn not_a_list() {}

    #[lydian::function(volumes = ["data"])]
    pub fn not_a_table() {}

    #[lydian::function(timeout = "1s", timeout = "2s")]
    pub fn twice() {}

    #[lydian::function(timeout = LIMIT)]
    pub fn not_a_literal() {}

    #[lydian::function = "10s"]
    pub fn no_parentheses() {}

    #[lydian::schedule(tz = "Europe/Berlin")]
    pub fn never() {}

    #[lydian::schedule(cron = "0 0 6 * * *")]
    pub fn six_fields() {}

    #[lydian::schedule(cron = "0 6 * * *", period = "1h")]
    pub fn both() {}

    #[lydian::function(mounts = { "./assets" = "/assets" })]
    pub fn of_the_app() {}

    #[lydian::endpoint(verb = "POST")]
    pub fn endpoint() {}
}

#[lydian::app(nam = "other")]
mod misnamed {}

#[lydian::local_entrypoint(timeout = "1s")]
fn entry() {}

#[lydian::app]
mod values {
    #[lydian::function("5s")]
    pub fn value() {}

    #[lydian::function(timeout: "5s")]
    pub fn colon() {}
}

fn main() {}
