//! What generated clients stand on. Not for people: it changes with the macros.

use crate::client::Client;
use crate::error::{Error, Result};
use crate::forms::{Input, Output};
use crate::function::Function;
use crate::limits::Limits;
use crate::lookup::Place;
use crate::session::Session;
use lydian_value::Digest;

pub use lydian_value::{Args, Error as ValueError, Reader, Type, Wit, len_prefix};

/// Where a generated client finds its functions.
#[derive(Debug, Clone)]
pub struct Origin {
    client: Client,
    place: Place,
}

impl Origin {
    /// An app's current version.
    pub fn app(client: &Client, app: &str) -> Self {
        let place = Place::App {
            environment: client.environment().into(),
            app: app.into(),
            version: 0,
        };
        Self {
            client: client.clone(),
            place,
        }
    }

    /// A component that is not deployed.
    pub fn component(client: &Client, component: Digest) -> Self {
        Self {
            client: client.clone(),
            place: client.component_place(component),
        }
    }

    /// A function with these types.
    pub async fn function<A: Input, R: Output>(&self, name: &str) -> Result<Function> {
        let function = self.find(name).await?;
        let checked = function.check_types::<A, R>().await;
        checked.map_err(|error| of_function(error, name))?;
        Ok(function)
    }

    /// A function with these parameters and a stream of such items.
    pub async fn stream_function<A: Input, T: Output>(&self, name: &str) -> Result<Function> {
        let function = self.find(name).await?;
        let checked = async {
            function.check_types::<A, crate::Wire>().await?;
            function.stream_item::<T>().await
        };
        checked.await.map_err(|error| of_function(error, name))?;
        Ok(function)
    }

    /// The function, whichever version of its interface there is.
    async fn find(&self, name: &str) -> Result<Function> {
        let exact = self.client.find_function(self.place.clone(), name).await;
        match (exact, unversioned(name)) {
            (Err(Error::NotFound(_)), Some(name)) => {
                self.client.find_function(self.place.clone(), &name).await
            }
            (found, _) => found,
        }
    }

    /// A session of the place.
    pub async fn session(&self) -> Result<Session> {
        Session::open(&self.client, &self.place, Limits::new()).await
    }
}

/// `acme:img/resize#thumbnail` for `acme:img/resize@1.0.0#thumbnail`.
fn unversioned(name: &str) -> Option<String> {
    let (interface, local) = name.split_once('#')?;
    let (path, _) = interface.split_once('@')?;
    Some(format!("{path}#{local}"))
}

/// Says which of the client's functions is of another type.
fn of_function(error: Error, name: &str) -> Error {
    match error {
        Error::InvalidArgument(mut refusal) => {
            refusal.message = format!("function `{name}`: {}", refusal.message);
            let hint = "the WIT of the client and of what is deployed differ: generate it anew";
            Error::InvalidArgument(refusal.hint(hint))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client made for one patch version works with the next.
    #[test]
    fn a_version_can_be_left_out() {
        let name = unversioned("acme:img/resize@1.0.0#thumbnail");
        assert_eq!(name.as_deref(), Some("acme:img/resize#thumbnail"));
        assert_eq!(unversioned("acme:img/resize#thumbnail"), None);
        assert_eq!(unversioned("square"), None);
    }
}
