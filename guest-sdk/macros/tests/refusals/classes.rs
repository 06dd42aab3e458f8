//! Classes that cannot be entered, left or called.
#![allow(dead_code, non_snake_case, unused_variables)]
use lydian_macros as lydian;

#[lydian::app]
mod incomplete {
    #[lydian::class]
    pub struct NoEnter {}
    impl NoEnter {
        #[lydian::method]
        fn get(&self) {}
    }

    #[lydian::class]
    pub struct NoMethods {}
    impl NoMethods {
        #[lydian::enter]
        fn load() -> Self {
            Self {}
        }
    }

    #[lydian::class]
    pub struct TwoEnters {}
    impl TwoEnters {
        #[lydian::enter]
        fn load() -> Self {
            Self {}
        }
        #[lydian::enter]
        fn load_again() -> Self {
            Self {}
        }
        #[lydian::method]
        fn get(&self) {}
    }

    #[lydian::class]
    pub struct Odd {}
    impl Odd {
        #[lydian::enter]
        fn load(path: String) -> Self {
            Self {}
        }
    }

    #[lydian::class]
    pub struct Odder {}
    impl Odder {
        #[lydian::enter]
        fn load() -> u32 {
            0
        }
    }
}

#[lydian::app]
mod methods {
    #[lydian::class]
    pub struct Model {}
    impl Model {
        #[lydian::enter]
        fn load() -> Self {
            Self {}
        }
        #[lydian::method]
        fn taken(self) {}
        #[lydian::method]
        fn without() {}
        #[lydian::method]
        fn itself(&self) -> Self {
            Self {}
        }
        #[lydian::method]
        fn other(&self, model: Model) {}
        #[lydian::method]
        fn one_name(&self) {}
        #[lydian::method]
        fn oneName(&self) {}
    }
}

#[lydian::app]
mod exits {
    #[lydian::class]
    pub struct Model {}
    impl Model {
        #[lydian::enter]
        fn load() -> Self {
            Self {}
        }
        #[lydian::method]
        fn get(&self) {}
        #[lydian::exit]
        fn leave(self) -> u32 {
            0
        }
    }
}

#[lydian::app]
mod places {
    #[lydian::class]
    pub struct Generic<T> {
        x: T,
    }

    #[lydian::class]
    pub enum Kind {
        One,
    }

    pub struct Plain {}
    impl Plain {
        #[lydian::enter]
        fn load() -> Self {
            Self {}
        }
    }

    #[lydian::class]
    pub struct Settings {}
    impl Settings {
        #[lydian::method(timeout = "1s")]
        fn get(&self) {}
    }
}

#[lydian::app]
mod streaming {
    #[lydian::class]
    pub struct Words {
        all: Vec<String>,
    }

    impl Words {
        #[lydian::enter]
        fn load() -> Self {
            Self { all: Vec::new() }
        }

        #[lydian::method]
        fn each(&self) -> impl Iterator<Item = String> {
            self.all.clone().into_iter()
        }

        #[lydian::method]
        fn owned(&self) -> impl Iterator<Item = String> + use<> {
            self.all.clone().into_iter()
        }
    }
}

fn main() {}
