//! What the digits example takes and gives, as JSON, and the ranking made of it.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// One configuration and its score.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) learner: String,
    pub(super) accuracy: f64,
    deviation: f64,
    confused: String,
}

/// The configurations, out of what `grid` returned.
pub(super) fn grid(json: &str) -> Result<Vec<Value>> {
    let configs: Vec<Value> = serde_json::from_str(json).context("`grid` returned no list")?;
    ensure!(!configs.is_empty(), "`grid` returned no configuration");
    Ok(configs)
}

/// One input per line.
pub(super) fn lines(configs: &[Value]) -> String {
    configs.iter().map(|config| format!("{config}\n")).collect()
}

/// Best first.
pub(super) fn ranking(configs: &[Value], scores: &[Value]) -> Result<Vec<Entry>> {
    ensure!(
        configs.len() == scores.len(),
        "{} scores for {} configurations",
        scores.len(),
        configs.len()
    );
    let mut entries = Vec::new();
    for (config, score) in configs.iter().zip(scores) {
        entries.push(entry(config, score)?);
    }
    entries.sort_by(|a, b| {
        b.accuracy
            .total_cmp(&a.accuracy)
            .then(a.deviation.total_cmp(&b.deviation))
    });
    Ok(entries)
}

fn entry(config: &Value, score: &Value) -> Result<Entry> {
    let Some(score) = score.get("ok") else {
        bail!("a configuration failed: {config}: {score}")
    };
    let number = |name: &str| {
        score[name]
            .as_f64()
            .with_context(|| format!("a score without `{name}`: {score}"))
    };
    let confused = &score["confused"];
    Ok(Entry {
        learner: learner(&config["learner"]),
        accuracy: number("accuracy")?,
        deviation: number("deviation")?,
        confused: format!("{} as {}, {} times", confused[0], confused[1], confused[2]),
    })
}

/// `{"forest": {"trees": 10}}` as `forest, trees 10`.
fn learner(learner: &Value) -> String {
    let mut text = String::new();
    for (name, settings) in learner.as_object().into_iter().flatten() {
        text.push_str(name);
        for (setting, value) in settings.as_object().into_iter().flatten() {
            // A write into memory cannot fail.
            let _ = write!(text, ", {setting} {value}");
        }
    }
    text
}

pub(super) fn table(entries: &[Entry]) -> String {
    let width = entries
        .iter()
        .map(|entry| entry.learner.len())
        .max()
        .unwrap_or_default();
    let mut text = format!(
        "{:>4}  {:<width$}  accuracy  deviation  most often misread\n",
        "rank", "learner"
    );
    for (at, entry) in entries.iter().enumerate() {
        let Entry {
            learner,
            accuracy,
            deviation,
            confused,
        } = entry;
        let (accuracy, deviation) = (accuracy * 100.0, deviation * 100.0);
        // A write into memory cannot fail.
        let _ = writeln!(
            text,
            "{:>4}  {learner:<width$}  {accuracy:>6.2} %  {deviation:>7.2} %  {confused}",
            at + 1
        );
    }
    text
}

/// How many pairs of what it was and what was read are equal.
pub(super) fn read_right(results: &[Value]) -> Result<usize> {
    let mut right = 0;
    for result in results {
        let pair = result
            .get("ok")
            .with_context(|| format!("a digit was not read: {result}"))?;
        right += usize::from(pair[0] == pair[1]);
    }
    Ok(right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_best_comes_first_and_is_described_by_its_settings() {
        let config = |trees: u32| json!({ "learner": { "forest": { "trees": trees } }, "folds": 5, "seed": 1 });
        let score = |accuracy: f64| json!({ "ok": { "accuracy": accuracy, "deviation": 0.01, "confused": [8, 1, 5] } });
        let ranking = ranking(&[config(1), config(2)], &[score(0.8), score(0.9)]).unwrap();
        assert_eq!(ranking[0].learner, "forest, trees 2");
        assert!(
            table(&ranking)
                .lines()
                .nth(1)
                .unwrap()
                .ends_with("90.00 %     1.00 %  8 as 1, 5 times")
        );
    }

    #[test]
    fn a_failed_configuration_is_an_error_and_not_a_low_rank() {
        let failed = json!({ "err": "`folds` is 2 to 100, not 0" });
        assert!(
            ranking(&[json!({})], &[failed])
                .unwrap_err()
                .to_string()
                .contains("`folds`")
        );
    }
}
