//! What a case observed, as ordered text, and the comparison of two such observations.

use serde::Deserialize;

/// Observations in the order in which they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts(Vec<(String, String)>);

impl Facts {
    /// Notes one observation.
    pub fn put(&mut self, key: impl Into<String>, value: impl ToString) {
        self.0.push((key.into(), value.to_string()));
    }

    /// The value of the first observation with this key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Takes an observation away: for canaries.
    pub fn remove(&mut self, key: &str) {
        self.0.retain(|(k, _)| k != key);
    }
}

/// One observation that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What was observed.
    pub key: String,
    /// Stock git's value, if it had one.
    pub stock: Option<String>,
    /// The subject's value, if it had one.
    pub subject: Option<String>,
}

/// All observations that differ between stock git and the subject.
pub fn compare(stock: &Facts, subject: &Facts) -> Vec<Difference> {
    let mut keys: Vec<&String> = stock.0.iter().map(|(k, _)| k).collect();
    keys.extend(subject.0.iter().map(|(k, _)| k).filter(|k| stock.get(k).is_none()));
    let found = keys.into_iter().filter_map(|key| {
        let (ours, theirs) = (stock.get(key), subject.get(key));
        (ours != theirs).then(|| Difference {
            key: key.clone(),
            stock: ours.map(str::to_owned),
            subject: theirs.map(str::to_owned),
        })
    });
    found.collect()
}

/// A difference that was looked at and is meant to stay.
#[derive(Debug, Deserialize)]
pub struct Known {
    /// The case's name.
    pub case: String,
    /// The observation's key.
    pub key: String,
    /// What the subject says; another value is a new difference.
    pub subject: Option<String>,
    /// Why Cairn answers otherwise.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
}

/// The list beside this crate.
pub fn known_differences() -> Vec<Known> {
    let list: Vec<Known> = serde_json::from_str(include_str!("../known_differences.json"))
        .expect("known_differences.json has the shape of `Known`");
    assert!(list.iter().all(|k| k.reason.len() > 20 && !k.owner.is_empty()), "a reason and an owner each");
    list
}

/// True when the list allows this difference.
pub fn is_known(case: &str, difference: &Difference, list: &[Known]) -> bool {
    list.iter().any(|k| {
        k.case == case && k.key == difference.key && (k.subject.is_none() || k.subject == difference.subject)
    })
}
