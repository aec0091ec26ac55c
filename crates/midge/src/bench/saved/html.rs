//! A page with plots: everything in one file, without scripts.

use std::fmt::Write as _;

use super::{Run, average, better, kinds};

const COLOURS: [&str; 6] = [
    "#1b6ca8", "#d1495b", "#2e8b57", "#edae49", "#6a4c93", "#555555",
];
const BAR_WIDTH: f64 = 420.0;
const BAR_HEIGHT: f64 = 22.0;
const NAME_WIDTH: f64 = 200.0;
const PLOT_WIDTH: f64 = 640.0;
const PLOT_HEIGHT: f64 = 260.0;
const MARGIN: f64 = 48.0;

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn colour(index: usize) -> &'static str {
    COLOURS
        .get(index % COLOURS.len())
        .copied()
        .unwrap_or("black")
}

/// A number for people.
fn number(value: f64) -> String {
    if value.abs() >= 1e6 {
        format!("{:.3} M", value / 1e6)
    } else if value.abs() >= 1e3 {
        format!("{:.1} k", value / 1e3)
    } else {
        format!("{value:.2}")
    }
}

/// The whole page.
pub(super) fn page(runs: &[Run]) -> String {
    let mut text = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>midge bench</title>\n<style>\
         body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}\
         svg text{font:12px sans-serif;fill:#222}h2{margin-top:2em;border-bottom:1px solid #ccc}\
         h3{margin:1em 0 .2em;font-size:1em}table{border-collapse:collapse}td,th{padding:.1em .8em;\
         text-align:right;border-bottom:1px solid #eee}td:first-child{text-align:left}</style></head><body>\n\
         <h1>midge bench</h1>\n",
    );
    let mut files: Vec<&str> = Vec::new();
    for run in runs {
        if !files.contains(&run.file.as_str()) {
            files.push(&run.file);
        }
    }
    for what in kinds(runs) {
        let _ = writeln!(text, "<h2>{}</h2>", escape(what));
        let sides: Vec<(usize, &str, _)> = files
            .iter()
            .enumerate()
            .filter_map(|(index, file)| {
                let of_file: Vec<&Run> = runs
                    .iter()
                    .filter(|run| run.file == **file && run.what == what)
                    .collect();
                (!of_file.is_empty()).then_some((index, *file, of_file))
            })
            .collect();
        curves(&sides, &mut text);
        let means: Vec<_> = sides
            .iter()
            .map(|(index, file, of_file)| {
                let mut all = std::collections::BTreeMap::new();
                for run in of_file {
                    for (path, value) in average(std::slice::from_ref(*run), what) {
                        let (sum, count) = all.entry(path).or_insert((0.0, 0.0));
                        *sum += value;
                        *count += 1.0;
                    }
                }
                (*index, *file, all)
            })
            .collect();
        let mut paths: Vec<&String> = means.iter().flat_map(|(_, _, all)| all.keys()).collect();
        paths.sort();
        paths.dedup();
        for path in paths.into_iter().filter(|path| better(path).is_some()) {
            let bars: Vec<_> = means
                .iter()
                .filter_map(|(index, file, all)| {
                    let (sum, count) = all.get(path)?;
                    Some((*index, *file, sum / count))
                })
                .collect();
            if bars.iter().any(|(_, _, value)| *value > 0.0) {
                bar_chart(path, &bars, &mut text);
            }
        }
    }
    text.push_str("</body></html>\n");
    text
}

fn bar_chart(path: &str, bars: &[(usize, &str, f64)], text: &mut String) {
    let most = bars.iter().map(|(_, _, value)| *value).fold(0.0, f64::max);
    let height = BAR_HEIGHT * bars.len() as f64;
    let width = NAME_WIDTH + BAR_WIDTH + 100.0;
    let _ = writeln!(
        text,
        "<h3>{}</h3><svg width=\"{width}\" height=\"{height}\" role=\"img\">",
        escape(path)
    );
    for (row, (index, file, value)) in bars.iter().enumerate() {
        let top = BAR_HEIGHT * row as f64;
        let length = BAR_WIDTH * value / most;
        let baseline = top + BAR_HEIGHT * 0.7;
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{baseline:.1}\" text-anchor=\"end\">{}</text><rect x=\"{NAME_WIDTH}\" \
             y=\"{:.1}\" width=\"{length:.1}\" height=\"{:.1}\" fill=\"{}\"/><text x=\"{:.1}\" \
             y=\"{baseline:.1}\">{}</text>",
            NAME_WIDTH - 8.0,
            escape(file),
            top + 3.0,
            BAR_HEIGHT - 6.0,
            colour(*index),
            NAME_WIDTH + length + 6.0,
            number(*value)
        );
    }
    text.push_str("</svg>\n");
}

/// Latency by the share of messages, with the slowest few spread out.
fn curves(sides: &[(usize, &str, Vec<&Run>)], text: &mut String) {
    let points = sides
        .iter()
        .flat_map(|(_, _, runs)| runs.iter())
        .flat_map(|run| run.quantiles.iter());
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    for (_, micros) in points {
        least = least.min(micros.max(0.1));
        most = most.max(*micros);
    }
    if most <= 0.0 {
        return;
    }
    let (low, high) = (
        least.log10().floor(),
        most.log10().ceil().max(least.log10().floor() + 1.0),
    );
    let y = |micros: f64| {
        let share = (micros.max(0.1).log10() - low) / (high - low);
        MARGIN / 2.0 + (PLOT_HEIGHT - MARGIN) * (1.0 - share)
    };
    // 0, 90, 99, 99.9, 99.99 % lie equally far apart.
    let x = |quantile: f64| {
        let nines = -(1.0 - quantile).max(1e-4).log10();
        MARGIN + (PLOT_WIDTH - MARGIN - 16.0) * nines / 4.0
    };
    let _ = writeln!(
        text,
        "<h3>latency in microseconds</h3><svg width=\"{PLOT_WIDTH}\" height=\"{PLOT_HEIGHT}\" role=\"img\">"
    );
    for (quantile, name) in [
        (0.0, "0"),
        (0.9, "90 %"),
        (0.99, "99 %"),
        (0.999, "99.9 %"),
        (0.9999, "99.99 %"),
    ] {
        let _ = writeln!(
            text,
            "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{1:.1}\" y2=\"{2:.1}\" stroke=\"#ddd\"/><text x=\"{0:.1}\" \
             y=\"{3:.1}\" text-anchor=\"middle\">{name}</text>",
            x(quantile),
            MARGIN / 2.0,
            PLOT_HEIGHT - MARGIN / 2.0,
            PLOT_HEIGHT - 6.0
        );
    }
    let mut power = low;
    while power <= high {
        let _ = writeln!(
            text,
            "<line x1=\"{MARGIN}\" x2=\"{PLOT_WIDTH}\" y1=\"{0:.1}\" y2=\"{0:.1}\" stroke=\"#ddd\"/><text x=\"{1:.1}\" \
             y=\"{2:.1}\" text-anchor=\"end\">{3}</text>",
            y(10_f64.powf(power)),
            MARGIN - 4.0,
            y(10_f64.powf(power)) + 4.0,
            10_f64.powf(power)
        );
        power += 1.0;
    }
    for (row, (index, file, runs)) in sides.iter().enumerate() {
        for run in runs {
            let mut points = String::new();
            for (quantile, micros) in &run.quantiles {
                let _ = write!(points, "{:.1},{:.1} ", x(*quantile), y(*micros));
            }
            let _ = writeln!(
                text,
                "<polyline points=\"{points}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>",
                colour(*index)
            );
        }
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{:.1}\" style=\"fill:{}\">{}</text>",
            MARGIN + 8.0,
            MARGIN / 2.0 + 14.0 * (row + 1) as f64,
            colour(*index),
            escape(file)
        );
    }
    text.push_str("</svg>\n");
}
