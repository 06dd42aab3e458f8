//! Imports of what is not there, or has no form here.
use lydian_macros as lydian;

lydian::import! {
    mod no_app { wit = "package a:b; world w { export f: func(); }" }
}

lydian::import! {
    mod no_wit { app = "a" }
}

lydian::import! {
    mod odd { app = "a", wiit = "" }
}

lydian::import! {
    mod broken { app = "a", wit = "package a:b; world w { export f: func(" }
}

lydian::import! {
    mod several { app = "a", wit = "package a:b; world v { export f: func(); } world w { export f: func(); }" }
}

lydian::import! {
    mod empty { app = "a", wit = "package a:b; world w { }" }
}

lydian::import! {
    mod resources { app = "a", wit = "package a:b; interface i { resource r { get: func(); } } world w { export i; }" }
}

fn main() {}
