//! `lydian new`.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;

use crate::commands::new::TEMPLATES;

/// Make a crate to start from
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lydian new hello
  lydian new scores --template job")]
pub(crate) struct Args {
    /// The crate's name, and that of its directory
    pub(crate) name: String,
    /// What it begins with
    #[arg(short, long, default_value = "function", value_parser = templates())]
    pub(crate) template: String,
    /// The `lydian` crate to depend on, from a checkout [default: the one this program was built from]
    #[arg(long, value_name = "DIR")]
    pub(crate) sdk: Option<PathBuf>,
}

fn templates() -> PossibleValuesParser {
    PossibleValuesParser::new(TEMPLATES.iter().map(|template| template.name))
}
