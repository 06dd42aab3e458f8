//! What the attribute makes of a function, and functions that are found by name.

use crate::imp::{self, Local};
use crate::map::Map;
use crate::name::Name;
use crate::{Call, Result};
use lydian_value::{Args, Wit};

/// What can be passed to a function: a tuple of types that have a WIT form.
pub trait Arguments: Args + Send + 'static {}

impl<A: Args + Send + 'static> Arguments for A {}

/// What can come back: a type that has a WIT form, or `()`.
pub trait Returned: Wit + Send + 'static {}

impl<R: Wit + Send + 'static> Returned for R {}

/// A function of the own app, with the types it was written with.
#[derive(Debug)]
pub struct Target<A, R> {
    name: Name,
    local: Local<A, R>,
}

impl<A, R> Target<A, R> {
    /// `local` is the plain function, for [`Backend::native`](crate::Backend::native).
    pub const fn new(app: &'static str, function: &'static str, local: fn(A) -> R) -> Self {
        Self {
            name: Name::own(app, function),
            local: imp::local(local),
        }
    }
}

impl<A: Arguments, R: Returned> Target<A, R> {
    /// One call.
    pub async fn remote(&self, args: A) -> Result<R> {
        imp::call(&self.name, Some(self.local), args).await
    }

    /// One recorded call.
    pub async fn spawn(&self, args: A) -> Result<Call<R>> {
        let (id, handle) = imp::spawn(&self.name, Some(self.local), args).await?;
        Ok(Call::new(id, handle))
    }

    /// A call per input.
    pub fn map<'a>(&self, inputs: impl Iterator<Item = A> + Send + 'a) -> Map<'a, A, R> {
        Map::new(self.name.clone(), Some(self.local), Box::new(inputs))
    }
}

/// A function found by name, in another app.
///
/// Nothing is asked before the first call; then the Rust types are compared with the function's once, and a mismatch
/// names its place: `config.rate: expected f64, found string`.
///
/// ```no_run
/// # async fn example() -> lydian::Result<()> {
/// let square = lydian::Function::lookup("square", "square");
/// let sixteen: Result<u64, String> = square.remote((4u64,)).await?;
/// let many: Vec<Result<u64, String>> = square.map((0..10u64).map(|x| (x,))).await?;
/// # Ok(())
/// # }
/// ```
///
/// It has what [`import!`](crate::import!) would give it types for, and works inside guests and natively alike.
#[derive(Debug, Clone)]
pub struct Function {
    name: Name,
}

impl Function {
    /// The function `name` of `app`, in the caller's environment. A method of a class is `model#predict`.
    pub fn lookup(app: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            name: Name::other(app.into(), name.into()),
        }
    }

    /// Its app.
    pub fn app(&self) -> &str {
        self.name.app()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.name.function()
    }

    /// Calls it and waits for the result.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound): no such app or function; [`InvalidArgument`](crate::ErrorKind::InvalidArgument):
    /// its types are others; else how the call failed.
    ///
    /// ```no_run
    /// # async fn example(cube: lydian::Function) -> lydian::Result<()> {
    /// let cubed: u64 = cube.remote((3u64,)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn remote<A: Arguments, R: Returned>(&self, args: A) -> Result<R> {
        imp::call(&self.name, None, args).await
    }

    /// As [`remote`](Self::remote), without `async`.
    ///
    /// # Errors
    /// As there.
    pub fn remote_blocking<A: Arguments, R: Returned>(&self, args: A) -> Result<R> {
        imp::block_on(self.remote(args))
    }

    /// Records a call, which runs whether or not the caller lives, and returns what finds it again.
    ///
    /// # Errors
    /// As of [`remote`](Self::remote), save for those of the call itself.
    ///
    /// ```no_run
    /// # async fn example(train: lydian::Function) -> lydian::Result<()> {
    /// let call = train.spawn::<_, f64>((12u32,)).await?;
    /// let score = call.get(None).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn spawn<A: Arguments, R: Returned>(&self, args: A) -> Result<Call<R>> {
        let (id, handle) = imp::spawn::<A, R>(&self.name, None, args).await?;
        Ok(Call::new(id, handle))
    }

    /// As [`spawn`](Self::spawn), without `async`.
    ///
    /// # Errors
    /// As there.
    pub fn spawn_blocking<A: Arguments, R: Returned>(&self, args: A) -> Result<Call<R>> {
        imp::block_on(self.spawn(args))
    }

    /// A call per input, each a tuple of the parameters; see [`Map`].
    pub fn map<'a, A: Arguments, R: Returned, I>(&self, inputs: I) -> Map<'a, A, R>
    where
        I: IntoIterator<Item = A>,
        I::IntoIter: Send + 'a,
    {
        Map::new(self.name.clone(), None, Box::new(inputs.into_iter()))
    }
}
