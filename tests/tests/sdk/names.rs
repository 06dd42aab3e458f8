//! Names of functions that symbols of a program have, too.

use crate::backends::on_each_backend;
use crate::sdk_names::app;

on_each_backend! {
    a_function_may_have_the_name_of_a_symbol,
}

/// Exported under its bare name, a function takes the place of libc's of that name, for all that the guest stands on.
async fn a_function_may_have_the_name_of_a_symbol() -> lydian::Result<()> {
    macro_rules! answers {
        ($($name:ident)*) => {$(
            let answer = app::$name::remote("now".to_owned()).await?;
            assert_eq!(answer, Ok(concat!(stringify!($name), " now").to_owned()));
        )*};
    }
    answers!(read write open close malloc free memcpy exit abort time main memory connect);
    Ok(())
}
