//! Runs that were saved with `--json`: compared, and drawn.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::Value;

use crate::failure::{Failure, plain};
use crate::options;
use crate::terminal;

mod html;

/// One run.
struct Run {
    /// The file that it is in.
    file: String,
    /// What was measured, which tells runs apart that cannot be compared.
    what: String,
    /// Every figure by its path.
    figures: BTreeMap<String, f64>,
    /// Latencies in microseconds by quantile.
    quantiles: Vec<(f64, f64)>,
}

/// Members that say what was measured.
const WHAT: [&str; 11] = [
    "scenario",
    "processes",
    "publishers",
    "subscribers",
    "clients",
    "qos",
    "version",
    "payload",
    "window",
    "rate",
    "transport",
];

/// Runs `midge bench compare FILE FILE`.
pub(crate) fn compare(args: &[OsString]) -> ExitCode {
    let [before, after] = args else {
        return misused("Give two files of saved runs: midge bench compare BEFORE AFTER.");
    };
    match (load(before), load(after)) {
        (Ok(before), Ok(after)) => terminal::print(&comparison(&before, &after)),
        (Err(failure), _) | (_, Err(failure)) => {
            terminal::conclude(&options::BENCH, false, &failure)
        }
    }
}

/// Runs `midge bench report FILE ...`: a page with plots.
pub(crate) fn report(args: &[OsString]) -> ExitCode {
    if args.is_empty() {
        return misused("Give files of saved runs: midge bench report FILE ... > report.html.");
    }
    let mut runs = Vec::new();
    for file in args {
        match load(file) {
            Ok(more) => runs.extend(more),
            Err(failure) => return terminal::conclude(&options::BENCH, false, &failure),
        }
    }
    terminal::print(&html::page(&runs))
}

fn misused(text: &str) -> ExitCode {
    terminal::conclude(&options::BENCH, false, &Failure::Usage(text.into()))
}

/// Reads a file with a run in each line.
fn load(file: &OsString) -> Result<Vec<Run>, Failure> {
    let name = file.to_string_lossy().into_owned();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::Other(format!("Unable to read {name}: {}.", plain(&error))))?;
    let mut runs = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let run = parse(&name, line).ok_or_else(|| {
            Failure::Other(format!(
                "{name}, line {number} is no run that midge bench --json has printed."
            ))
        })?;
        runs.push(run);
    }
    if runs.is_empty() {
        return Err(Failure::Other(format!(
            "{name} has no runs. Save them by midge bench SCENARIO --json >> {name}."
        )));
    }
    Ok(runs)
}

fn parse(file: &str, line: &str) -> Option<Run> {
    let json: Value = serde_json::from_str(line).ok()?;
    let object = json.as_object()?;
    object.get("scenario")?.as_str()?;
    let mut what = Vec::new();
    let mut figures = BTreeMap::new();
    let mut quantiles = Vec::new();
    for (name, value) in object {
        if WHAT.contains(&name.as_str()) {
            match value {
                Value::Null => {}
                Value::String(text) if name == "scenario" => what.insert(0, text.clone()),
                Value::String(text) => what.push(format!("{name} {text}")),
                other => what.push(format!("{name} {other}")),
            }
        } else if name == "latency_quantiles_us" {
            quantiles = value
                .as_array()?
                .iter()
                .filter_map(|pair| Some((pair.get(0)?.as_f64()?, pair.get(1)?.as_f64()?)))
                .collect();
        } else {
            flatten(name, value, &mut figures);
        }
    }
    Some(Run {
        file: file.to_owned(),
        what: what.join(", "),
        figures,
        quantiles,
    })
}

fn flatten(path: &str, value: &Value, figures: &mut BTreeMap<String, f64>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                flatten(&format!("{path}.{name}"), value, figures);
            }
        }
        value => {
            if let Some(number) = value.as_f64() {
                figures.insert(path.to_owned(), number);
            }
        }
    }
}

/// Which way a figure is better; `None` where neither is.
fn better(path: &str) -> Option<Better> {
    if path.contains("per_second") {
        Some(Better::More)
    } else if path.starts_with("latency_us")
        || path.contains("cpu_us")
        || path.contains("memory")
        || path.contains("bytes_each")
        || matches!(path, "lost" | "duplicates" | "disordered" | "misrouted")
    {
        Some(Better::Less)
    } else {
        None
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Better {
    More,
    Less,
}

/// Both files run by run: figures, and their ratio.
fn comparison(before: &[Run], after: &[Run]) -> String {
    let mut text = String::new();
    for what in kinds(before) {
        let (old, new) = (average(before, what), average(after, what));
        if new.is_empty() {
            let _ = writeln!(text, "{what}\n  only in the first file\n");
            continue;
        }
        let _ = writeln!(
            text,
            "{what}\n  {:<34}{:>14}{:>14}{:>9}",
            "", "before", "after", "ratio"
        );
        for (path, old) in &old {
            let Some(new) = new.get(path) else {
                continue;
            };
            let Some(better) = better(path) else {
                continue;
            };
            let ratio = if *old == 0.0 { None } else { Some(new / old) };
            let note = match (ratio, better) {
                (Some(ratio), Better::More) if ratio < 0.95 => "  worse",
                (Some(ratio), Better::More) if ratio > 1.05 => "  better",
                (Some(ratio), Better::Less) if ratio > 1.05 => "  worse",
                (Some(ratio), Better::Less) if ratio < 0.95 => "  better",
                (None, Better::Less) if *new > 0.0 => "  worse",
                _ => "",
            };
            let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
            let _ = writeln!(text, "  {path:<34}{old:>14.3}{new:>14.3}{ratio:>9}{note}");
        }
        text.push('\n');
    }
    for what in kinds(after) {
        if average(before, what).is_empty() {
            let _ = writeln!(text, "{what}\n  only in the second file\n");
        }
    }
    text
}

/// What was measured, each once, in the order of the runs.
fn kinds(runs: &[Run]) -> Vec<&str> {
    let mut kinds: Vec<&str> = Vec::new();
    for run in runs {
        if !kinds.contains(&run.what.as_str()) {
            kinds.push(&run.what);
        }
    }
    kinds
}

/// The figures of all runs of one kind, as their mean.
fn average(runs: &[Run], what: &str) -> BTreeMap<String, f64> {
    let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.what == what) {
        for (path, value) in &run.figures {
            let (sum, count) = sums.entry(path.clone()).or_default();
            *sum += value;
            *count += 1.0;
        }
    }
    sums.into_iter()
        .map(|(path, (sum, count))| (path, sum / count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(file: &str, rate: f64, p99: f64) -> Run {
        let line = format!(
            "{{\"scenario\":\"p2p\",\"publishers\":2,\"qos\":1,\"rate\":null,\"messages_per_second\":{rate},\
             \"latency_us\":{{\"p99\":{p99}}},\"lost\":0,\"faulty\":false,\
             \"latency_quantiles_us\":[[0.5,10.0],[0.99,{p99}]]}}"
        );
        parse(file, &line).unwrap()
    }

    #[test]
    fn runs_of_a_kind_are_averaged_and_compared() {
        let before = [run("a", 100.0, 50.0), run("a", 300.0, 70.0)];
        let after = [run("b", 300.0, 63.0)];
        let text = comparison(&before, &after);
        assert!(text.starts_with("p2p, publishers 2, qos 1\n"), "{text}");
        let row = |name: &str| text.lines().find(|line| line.contains(name)).unwrap();
        assert!(row("messages_per_second").ends_with("200.000       300.000    1.500  better"));
        assert!(row("latency_us.p99").ends_with("60.000        63.000    1.050"));
        assert!(row("lost").ends_with("-"));
    }

    #[test]
    fn a_page_has_a_bar_for_each_run_and_what_it_shows_is_escaped() {
        let page = html::page(&[run("<b>", 100.0, 50.0), run("c", 50.0, 60.0)]);
        assert!(page.contains("<svg") && page.ends_with("</html>\n"));
        assert!(page.contains("&lt;b&gt;") && !page.contains("<b>"));
        assert_eq!(page.matches("<polyline").count(), 2);
        assert!(page.matches("<rect").count() >= 4, "{page}");
    }

    #[test]
    fn what_is_no_run_is_told() {
        assert!(parse("f", "{}").is_none());
        assert!(parse("f", "text").is_none());
    }
}
