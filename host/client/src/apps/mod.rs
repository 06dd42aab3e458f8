//! Apps: deploy, look at, roll back, stop.

mod conversation;
mod deploy;
mod ephemeral;
mod model;

pub use deploy::{Code, Deploy};
pub use ephemeral::{EphemeralApp, Swapped};
pub(crate) use model::time;
pub use model::{
    App, AppState, Change, ChangeKind, ClassInfo, CompileInfo, Deployed, Description,
    EntrypointInfo, FunctionInfo, MountInfo, Version,
};

use crate::blobs::to_bytes;
use crate::client::Client;
use crate::error::Result;
use crate::logs::{LogStream, Tail};
use lydian_api::v1;
use lydian_value::Digest;

impl Client {
    /// The apps of this client's environment.
    ///
    /// # Errors
    /// [`Error::Unreachable`](crate::Error::Unreachable).
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> lydian_client::Result<()> {
    /// for app in client.apps().await? {
    ///     println!("{} v{}", app.name, app.version);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn apps(&self) -> Result<Vec<App>> {
        self.list_apps(self.environment()).await
    }

    /// The apps of all environments.
    ///
    /// # Errors
    /// [`Error::Unreachable`](crate::Error::Unreachable).
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> lydian_client::Result<()> {
    /// let everything = client.all_apps().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn all_apps(&self) -> Result<Vec<App>> {
        self.list_apps("").await
    }

    async fn list_apps(&self, environment: &str) -> Result<Vec<App>> {
        let response = self
            .read(|| {
                let mut apps = self.apps_api();
                let environment = environment.to_owned();
                async move { apps.list(v1::ListAppsRequest { environment }).await }
            })
            .await?;
        response.apps.into_iter().map(App::try_from).collect()
    }

    /// The environments that hold anything.
    ///
    /// # Errors
    /// [`Error::Unreachable`](crate::Error::Unreachable).
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> lydian_client::Result<()> {
    /// println!("{}", client.environments().await?.join(", "));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn environments(&self) -> Result<Vec<String>> {
        let response = self
            .read(|| {
                let mut apps = self.apps_api();
                async move { apps.environments(v1::EnvironmentsRequest {}).await }
            })
            .await?;
        Ok(response.environments)
    }

    /// What the current version of an app offers, needs and may do.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound): no such app in this environment.
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> lydian_client::Result<()> {
    /// for function in client.describe("math").await?.functions {
    ///     println!("{}: {}", function.name, function.signature);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn describe(&self, app: &str) -> Result<Description> {
        self.describe_version(app, 0).await
    }

    /// As [`Client::describe`], of one version; zero is the current one.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound): no such app or version.
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> lydian_client::Result<()> {
    /// let first = client.describe_version("math", 1).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn describe_version(&self, app: &str, version: u64) -> Result<Description> {
        let reference = self.app_ref(app, version);
        self.describe_target(v1::describe_request::Of::App(reference))
            .await
    }

    /// What a component offers and needs that the node has but that is not deployed.
    ///
    /// # Errors
    /// - [`Error::NotFound`](crate::Error::NotFound): the node does not have it.
    /// - [`Error::InvalidArgument`](crate::Error::InvalidArgument): the blob is not a component.
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let digest = client.put(std::fs::read("math.wasm")?).await?;
    /// println!("{}", client.describe_component(digest).await?.wit);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn describe_component(&self, component: Digest) -> Result<Description> {
        self.describe_target(v1::describe_request::Of::Component(to_bytes(&component)))
            .await
    }

    pub(crate) async fn describe_target(
        &self,
        of: v1::describe_request::Of,
    ) -> Result<Description> {
        let request = v1::DescribeRequest { of: Some(of) };
        let response = self
            .read(|| {
                let mut apps = self.apps_api();
                let request = request.clone();
                async move { apps.describe(request).await }
            })
            .await?;
        Description::try_from(response)
    }

    /// The versions of an app, newest first.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound): no such app.
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> lydian_client::Result<()> {
    /// for version in client.history("math").await? {
    ///     println!("v{} {}", version.number, version.message);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn history(&self, app: &str) -> Result<Vec<Version>> {
        let request = v1::HistoryRequest {
            environment: self.environment().to_owned(),
            app: app.to_owned(),
        };
        let response = self
            .read(|| {
                let mut apps = self.apps_api();
                let request = request.clone();
                async move { apps.history(request).await }
            })
            .await?;
        response
            .versions
            .into_iter()
            .map(Version::try_from)
            .collect()
    }

    /// Makes a new version with the content of an earlier one: of `version`, or when it is zero of the one
    /// before that whose content is current. Twice in a row goes back two versions.
    ///
    /// # Errors
    /// - [`Error::NotFound`](crate::Error::NotFound): no such app or version.
    /// - [`Error::Conflict`](crate::Error::Conflict): the content is that of the first version, and none is named.
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> lydian_client::Result<()> {
    /// let deployed = client.rollback("math", 0).await?;
    /// println!("math is at v{}", deployed.version);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn rollback(&self, app: &str, version: u64) -> Result<Deployed> {
        let request = v1::RollbackRequest {
            environment: self.environment().to_owned(),
            app: app.to_owned(),
            version,
        };
        let response = self.once(self.apps_api().rollback(request)).await?;
        self.forget_app(app);
        Deployed::try_from(response)
    }

    /// Refuses new calls of an app; those that run finish. A later deploy starts it again. Answers how
    /// many still run.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound): no such app.
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> lydian_client::Result<()> {
    /// let still_running = client.stop("math").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stop(&self, app: &str) -> Result<u64> {
        let request = v1::StopRequest {
            environment: self.environment().to_owned(),
            app: app.to_owned(),
        };
        let response = self.once(self.apps_api().stop(request)).await?;
        self.forget_app(app);
        Ok(response.calls_running)
    }

    /// What the functions of an app wrote: the newest lines, then what follows when `tail` says so.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound): no such app.
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> lydian_client::Result<()> {
    /// use futures::StreamExt;
    /// use lydian_client::Tail;
    ///
    /// let mut logs = client.app_logs("math", Tail::lines(100).follow()).await?;
    /// while let Some(chunk) = logs.next().await {
    ///     print!("{}", chunk?.text());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn app_logs(&self, app: &str, tail: Tail) -> Result<LogStream> {
        let request = v1::AppLogsRequest {
            app: Some(self.app_ref(app, 0)),
            follow: tail.follow,
            tail_lines: tail.lines,
            function: tail.function,
        };
        let chunks = self.once(self.apps_api().logs(request)).await?;
        Ok(LogStream::new(self, chunks))
    }

    pub(crate) fn app_ref(&self, app: &str, version: u64) -> v1::AppRef {
        v1::AppRef {
            environment: self.environment().to_owned(),
            app: app.to_owned(),
            version,
        }
    }
}
