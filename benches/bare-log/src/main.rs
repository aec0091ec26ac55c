//! A bare loop that appends records to a file and syncs it: the floor of what a durable message costs on
//! a disk. It has no sockets, no checksums and nothing to read back.
//!
//! `midge-bare-log <file> --bytes <n> --records <n> --batch <n> [--overwrite]` prints a line of JSON.
//! Records are copied into a buffer one by one; a batch of them is one `write` and one `fdatasync`.
//! With `--overwrite` the file's blocks are written before the clock starts, so that a sync need not
//! change the file's size.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for the terminal: its figures are its result"
)]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "\
Usage: midge-bare-log <file> --bytes <n> --records <n> --batch <n> [--overwrite]

  --bytes <n>    Bytes of each record.
  --records <n>  How many records.
  --batch <n>    Records for each fdatasync.
  --overwrite    Writes the file's blocks before the clock starts.";

type Error = Box<dyn std::error::Error>;

/// What is to be written.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    file: PathBuf,
    bytes: usize,
    records: usize,
    batch: usize,
    overwrite: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(plan) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&plan) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("midge-bare-log: {}: {error}", plan.file.display());
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Option<Plan> {
    let (file, options) = arguments.split_first()?;
    let mut plan = Plan {
        file: file.into(),
        bytes: 0,
        records: 0,
        batch: 0,
        overwrite: false,
    };
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let mut number = || options.next()?.parse().ok();
        match option.as_str() {
            "--bytes" => plan.bytes = number()?,
            "--records" => plan.records = number()?,
            "--batch" => plan.batch = number()?,
            "--overwrite" => plan.overwrite = true,
            _ => return None,
        }
    }
    let is_whole = plan.bytes > 0 && plan.records > 0 && plan.batch > 0;
    is_whole.then_some(plan)
}

fn run(plan: &Plan) -> Result<String, Error> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&plan.file)?;
    if plan.overwrite {
        fill(&file, plan.bytes * plan.records)?;
    }
    file.sync_all()?;
    let record = vec![b'.'; plan.bytes];
    let mut buffer = Vec::with_capacity(plan.bytes * plan.batch);
    let mut offset = 0;
    let mut left = plan.records;
    let mut times = Vec::with_capacity(plan.records.div_ceil(plan.batch));
    let began = Instant::now();
    while left > 0 {
        let count = left.min(plan.batch);
        let from = Instant::now();
        buffer.clear();
        for _ in 0..count {
            buffer.extend_from_slice(&record);
        }
        file.write_all_at(&buffer, offset)?;
        file.sync_data()?;
        times.push(from.elapsed());
        offset += buffer.len() as u64;
        left -= count;
    }
    let span = began.elapsed();
    times.sort_unstable();
    let at = |share: usize| micros(times.get((times.len() - 1) * share / 100).copied());
    Ok(format!(
        "{{\"bare\":{{\"records\":{},\"bytes\":{},\"syncs\":{},\"seconds\":{:.6},\"per_second\":{:.1},\
         \"sync_us_p50\":{:.1},\"sync_us_p99\":{:.1}}}}}",
        plan.records,
        offset,
        times.len(),
        span.as_secs_f64(),
        plan.records as f64 / span.as_secs_f64().max(1e-9),
        at(50),
        at(99),
    ))
}

fn micros(time: Option<Duration>) -> f64 {
    time.unwrap_or_default().as_secs_f64() * 1e6
}

fn fill(file: &File, bytes: usize) -> Result<(), Error> {
    let block = vec![0; 1024 * 1024];
    for offset in (0..bytes).step_by(block.len()) {
        file.write_all_at(&block, offset as u64)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<Plan> {
        let words: Vec<String> = line.split_whitespace().map(Into::into).collect();
        parse(&words)
    }

    #[test]
    fn all_sizes_have_to_be_given() {
        let plan = parsed("f --bytes 10 --records 5 --batch 2 --overwrite").unwrap();
        assert_eq!((plan.bytes, plan.records, plan.batch), (10, 5, 2));
        assert!(plan.overwrite);
        assert_eq!(parsed("f --bytes 10 --records 5"), None);
        assert_eq!(parsed("f --bytes x --records 5 --batch 1"), None);
        assert_eq!(parsed(""), None);
    }

    #[test]
    fn the_last_batch_may_be_smaller() {
        let file = std::env::temp_dir().join(format!("midge-bare-log-{}", std::process::id()));
        let mut plan = parsed("f --bytes 10 --records 5 --batch 2").unwrap();
        plan.file = file.clone();
        let line = run(&plan).unwrap();
        assert!(line.contains("\"syncs\":3,"), "{line}");
        assert_eq!(std::fs::metadata(&file).unwrap().len(), 50);
        assert!(run(&plan).is_err(), "an existing file is left alone");
        std::fs::remove_file(file).unwrap();
    }
}
