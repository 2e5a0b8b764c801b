//! Rows of figures, their bars, and the table and JSON made of them.

use serde::Serialize;

use crate::Result;

/// What was seen of one quantity; several rounds, or why there is none.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figure {
    pub name: String,
    pub samples: Vec<f64>,
    pub error: Option<String>,
}

impl Figure {
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// A figure of one sample.
    pub fn one(name: &str, sample: Result<f64>) -> Self {
        let mut figure = Self::named(name);
        figure.push(sample);
        figure
    }

    pub fn push(&mut self, sample: Result<f64>) {
        match sample {
            Ok(sample) => self.samples.push(sample),
            Err(error) => self.error = Some(error.to_string()),
        }
    }

    /// The middle sample; of an even number the mean of the middle two.
    pub fn median(&self) -> Option<f64> {
        median(&self.samples)
    }
}

fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    Some((sorted.get(low)? + sorted.get(high)?) / 2.0)
}

/// What the numbers of a row count.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Seconds,
    PerSecond,
    Bytes,
    Count,
}

/// What section 9 of the design demands.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    /// Cairn is at most so many times the named stock figure.
    Ratio {
        against: &'static str,
        at_most: f64,
    },
    AtMost(f64),
    AtLeast(f64),
}

/// One line of the report.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub id: String,
    pub unit: Unit,
    pub cairn: Figure,
    pub stock: Vec<Figure>,
    pub bars: Vec<Bar>,
    pub notes: Vec<String>,
}

impl Row {
    pub fn new(id: &str, unit: Unit, bars: &[Bar]) -> Self {
        let cairn = Figure::named("cairn");
        Self { id: id.to_owned(), unit, cairn, stock: Vec::new(), bars: bars.to_vec(), notes: Vec::new() }
    }

    /// The median of the ratios of paired rounds; of the medians when rounds are missing.
    pub fn ratio(&self, against: &Figure) -> Option<f64> {
        let pairs = self.cairn.samples.iter().zip(&against.samples);
        if self.cairn.samples.len() == against.samples.len() {
            return median(&pairs.map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>())
                .filter(|r| r.is_finite());
        }
        Some(self.cairn.median()? / against.median()?).filter(|ratio| ratio.is_finite())
    }

    /// Whether one bar is reached; `None` without figures.
    fn reaches(&self, bar: &Bar) -> Option<bool> {
        match bar {
            Bar::Ratio { against, at_most } => {
                let stock = self.stock.iter().find(|figure| figure.name == *against)?;
                Some(self.ratio(stock)? <= *at_most)
            }
            Bar::AtMost(limit) => Some(self.cairn.median()? <= *limit),
            Bar::AtLeast(limit) => Some(self.cairn.median()? >= *limit),
        }
    }

    fn verdict(&self, bar: &Bar) -> &'static str {
        match self.reaches(bar) {
            Some(true) => "ok",
            Some(false) => "short",
            None => "no figure",
        }
    }

    /// The row's lines in the table: one per stock figure or absolute bar, at least one.
    fn lines(&self) -> Vec<[String; 6]> {
        let cairn = self.cairn.median().map_or_else(|| "-".to_owned(), |value| show(value, self.unit));
        let mut lines = Vec::new();
        for bar in self.bars.iter().filter(|bar| !matches!(bar, Bar::Ratio { .. })) {
            let text = match bar {
                Bar::AtLeast(limit) => format!(">= {}", show(*limit, self.unit)),
                Bar::AtMost(limit) => format!("<= {}", show(*limit, self.unit)),
                Bar::Ratio { .. } => String::new(),
            };
            lines.push(["-".into(), "-".into(), text, self.verdict(bar).to_owned()]);
        }
        for figure in &self.stock {
            let value = figure.median().map_or_else(|| "-".to_owned(), |value| show(value, self.unit));
            let bar = self
                .bars
                .iter()
                .find(|bar| matches!(bar, Bar::Ratio { against, .. } if *against == figure.name));
            let limit = match bar {
                Some(Bar::Ratio { at_most, .. }) => format!("<= {at_most} x"),
                _ => "-".to_owned(),
            };
            let ratio = self.ratio(figure).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
            let verdict = bar.map_or("-", |bar| self.verdict(bar));
            lines.push([format!("{value} {}", figure.name), ratio, limit, verdict.to_owned()]);
        }
        if lines.is_empty() {
            lines.push(std::array::from_fn(|_| "-".to_owned()));
        }
        let mut first = Some((self.id.clone(), cairn));
        let with_head = |[stock, ratio, bar, verdict]: [String; 4]| {
            let (id, cairn) = first.take().unwrap_or_default();
            [id, cairn, stock, ratio, bar, verdict]
        };
        lines.into_iter().map(with_head).collect()
    }
}

/// A number with its unit, three significant digits.
fn show(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Seconds if value < 1e-3 => format!("{:.1} us", value * 1e6),
        Unit::Seconds if value < 1.0 => format!("{:.2} ms", value * 1e3),
        Unit::Seconds => format!("{value:.2} s"),
        Unit::PerSecond => format!("{value:.0}/s"),
        Unit::Bytes if value >= 1_048_576.0 => format!("{:.1} MiB", value / 1_048_576.0),
        Unit::Bytes => format!("{:.1} KiB", value / 1024.0),
        Unit::Count => format!("{value:.0}"),
    }
}

/// Prints the table, then the notes and errors row by row.
pub fn print(rows: &[Row]) {
    let head = ["row", "cairn", "stock", "ratio", "bar", ""].map(str::to_owned);
    let lines: Vec<_> = std::iter::once(head).chain(rows.iter().flat_map(Row::lines)).collect();
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    for line in &lines {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("{}", cells.join("  ").trim_end());
    }
    for row in rows {
        for note in &row.notes {
            println!("{}: {note}", row.id);
        }
        for figure in std::iter::once(&row.cairn).chain(&row.stock) {
            if let Some(error) = &figure.error {
                println!("{}: {} has no figure: {error}", row.id, figure.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bar, Figure, Row, Unit};

    #[test]
    fn ratio_is_the_median_of_paired_rounds_and_meets_its_bar() {
        let bar = Bar::Ratio { against: "git", at_most: 0.5 };
        let mut row = Row::new("x", Unit::Seconds, &[bar]);
        row.cairn.samples = vec![1.0, 3.0, 10.0];
        row.stock = vec![Figure { samples: vec![2.0, 6.0, 100.0], ..Figure::named("git") }];
        assert_eq!(row.ratio(&row.stock[0]), Some(0.5));
        assert_eq!(row.lines()[0][5], "ok");
    }

    #[test]
    fn row_without_figures_is_neither_ok_nor_short() {
        let row = Row::new("x", Unit::Bytes, &[Bar::AtMost(1.0)]);
        assert_eq!(row.lines()[0][5], "no figure");
        assert_eq!(row.cairn.median(), None);
    }
}
