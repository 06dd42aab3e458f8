//! An app that asks for everything that can be written with the SDK and no node of this release does. Each function and
//! class is named after what it asks for.

#[lydian::app(name = "sdk-later")]
pub mod app {
    #[lydian::function(volumes = { "/data" = "digits:ro" })]
    pub fn volumes() {}

    #[lydian::function(secrets = ["hub"])]
    pub fn secrets() {}

    #[lydian::function(gpu = "any")]
    pub fn gpu() {}

    #[lydian::function(retries = 3)]
    pub fn retries() {}

    #[lydian::function(scaling = { "min-instances" = 1 })]
    pub fn scaling() {}

    #[lydian::function(cache)]
    pub fn cache() {}

    #[lydian::endpoint(method = "POST", path = "/parse")]
    pub fn endpoint() {}

    #[lydian::schedule(cron = "0 6 * * *", tz = "Europe/Berlin")]
    pub fn schedule() {}

    #[lydian::build]
    pub fn build() {}

    #[lydian::class(snapshot)]
    pub struct Snapshot {}

    impl Snapshot {
        #[lydian::enter]
        fn load() -> Self {
            Self {}
        }

        #[lydian::method]
        fn get(&self) {}
    }

    #[lydian::class(parameters = ["size"])]
    pub struct Parameters {}

    impl Parameters {
        #[lydian::enter]
        fn load() -> Self {
            Self {}
        }

        #[lydian::method]
        fn get(&self) {}
    }
}
