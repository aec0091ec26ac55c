//! Figures as text and as JSON.

use std::fmt::Write as _;

/// What a scenario has found.
#[derive(Debug)]
pub(crate) struct Report {
    name: &'static str,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    goal: Option<Goal>,
}

/// What a figure is to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl Report {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self {
            name,
            rows: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.push(name.into(), value, unit, None);
    }

    pub(crate) fn add_goal(
        &mut self,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        goal: Goal,
    ) {
        self.push(name.into(), value, unit, Some(goal));
    }

    fn push(&mut self, name: String, value: f64, unit: &'static str, goal: Option<Goal>) {
        self.rows.push(Row {
            name,
            value,
            unit,
            goal,
        });
    }

    /// A line for each figure.
    pub(crate) fn text(&self) -> String {
        let widest = |row: &Row| row.name.chars().count();
        let width = self.rows.iter().map(widest).max().unwrap_or(0);
        let mut text = format!("{}\n", self.name);
        for row in &self.rows {
            let (name, value) = (&row.name, digits(row.value));
            let _ = write!(text, "  {name:<width$} {value:>12} {}", row.unit);
            if let Some(goal) = row.goal {
                let words = match goal {
                    Goal::AtMost(most) => format!("at most {}", digits(most)),
                    Goal::AtLeast(least) => format!("at least {}", digits(least)),
                };
                let met = if goal.is_met(row.value) {
                    "met"
                } else {
                    "missed"
                };
                let _ = write!(text, " ({words}: {met})");
            }
            text.push('\n');
        }
        text
    }

    /// One object on one line.
    pub(crate) fn json(&self) -> String {
        let rows: Vec<String> = self
            .rows
            .iter()
            .map(|row| {
                let met = match row.goal {
                    Some(goal) => format!(",\"met\":{}", goal.is_met(row.value)),
                    None => String::new(),
                };
                let value = if row.value.is_finite() {
                    row.value
                } else {
                    0.0
                };
                format!(
                    "{{\"name\":{},\"value\":{value},\"unit\":{}{met}}}",
                    quoted(&row.name),
                    quoted(row.unit)
                )
            })
            .collect();
        let name = quoted(self.name);
        format!("{{\"scenario\":{name},\"rows\":[{}]}}", rows.join(","))
    }
}

/// About three digits that mean something.
fn digits(value: f64) -> String {
    if value.abs() >= 100.0 || value == value.trunc() {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else if value.abs() >= 0.1 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}

/// The names here hold neither control characters nor much else that would have to be escaped.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_says_whether_its_goal_is_met() {
        let mut report = Report::new("things");
        report.add("plain \"one\"", 12.34, "µs");
        report.add_goal("low", 2.5, "times", Goal::AtMost(2.0));
        report.add_goal("high", 2.5, "times", Goal::AtLeast(2.0));
        let text = report.text();
        assert!(text.contains("12.3 µs\n"), "{text}");
        assert!(text.contains("2.50 times (at most 2: missed)"), "{text}");
        assert!(text.contains("2.50 times (at least 2: met)"), "{text}");
        assert_eq!(
            report.json(),
            "{\"scenario\":\"things\",\"rows\":[\
             {\"name\":\"plain \\\"one\\\"\",\"value\":12.34,\"unit\":\"µs\"},\
             {\"name\":\"low\",\"value\":2.5,\"unit\":\"times\",\"met\":false},\
             {\"name\":\"high\",\"value\":2.5,\"unit\":\"times\",\"met\":true}]}"
        );
    }
}
