//! What the machine offers to sandboxes, and how to mend what it does not.

/// One line of `lydian doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Stable, kebab-case: `pagemap-scan`.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub status: CheckStatus,
    /// What was found.
    pub detail: String,
    /// What to do; empty when there is nothing to do.
    pub fix: String,
}

/// How serious a [`Check`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckStatus {
    /// As it should be.
    Ok,
    /// Works, slower or smaller than it could.
    Warn,
    /// Does not work.
    Fail,
}
