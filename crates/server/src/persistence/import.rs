//! The first start where Mosquitto was: what its database holds is taken over.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Instant;

use midge_persistence::Recovered;
use midge_persistence::import::{Imported, Terms, import};
use midge_persistence::mosquitto_db::{Database, Reason};
use midge_store::FileDisk;

use crate::config;
use crate::log::{Kind, Logger};

/// Imports Mosquitto's database, if there is one and the store is new. Gives the store to go on with,
/// which `open` finds again after an import.
///
/// # Errors
/// What is to be told the operator. To start without what cannot be read would lose it: the next store
/// would not be new.
pub(super) fn import_if_new(
    recovered: Recovered<FileDisk>,
    settings: &config::Persistence,
    terms: Terms,
    logger: &Logger,
    open: impl FnOnce() -> Result<Recovered<FileDisk>, String>,
) -> Result<Recovered<FileDisk>, String> {
    let path = settings.mosquitto_file();
    if !recovered.is_new {
        return Ok(recovered);
    }
    let fail = |what: &dyn Display| {
        format!(
            "Error: Unable to import {}: {what}. Nothing has been changed. To start without what it \
             holds, move it away or name another file with 'persistence_file'.",
            path.display()
        )
    };
    match fs::metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(recovered),
        Err(error) => return Err(fail(&error)),
        Ok(metadata) if !metadata.is_file() => return Err(fail(&"it is no regular file")),
        Ok(_) => {}
    }
    let began = Instant::now();
    let file = File::open(&path).map_err(|error| fail(&error))?;
    let database = match Database::open(file) {
        Ok(database) => database,
        // Mosquitto starts with an empty file as with none.
        Err(stop) if matches!(stop.reason, Reason::Empty) => {
            let text = format!("{} is empty: there is nothing to import.", path.display());
            logger.log(Kind::Information, text);
            return Ok(recovered);
        }
        Err(stop) => return Err(fail(&stop)),
    };
    let Recovered {
        recovery, image, ..
    } = recovered;
    let imported = import(recovery, &image, database, terms).map_err(|error| fail(&error))?;
    let recovered = open()?;
    if recovered.image.counts() != imported.counts {
        // It has just been written and synced.
        return Err(format!(
            "Error: {} was imported into {}, but not all of it can be read back from there. Move that \
             directory away to import it again.",
            path.display(),
            settings.store_directory().display()
        ));
    }
    tell(&imported, &path, settings, began, logger);
    Ok(recovered)
}

fn tell(
    imported: &Imported,
    path: &Path,
    settings: &config::Persistence,
    began: Instant,
    logger: &Logger,
) {
    let path = path.display();
    let counts = imported.counts;
    let text = format!(
        "Imported {path} (format version {}) into {}: {} sessions with {} subscriptions and {} messages \
         to deliver, {} retained messages, in {} ms. The file is left as it is, and ignored from now on.",
        imported.version,
        settings.store_directory().display(),
        counts.sessions,
        counts.subscriptions,
        counts.copies,
        counts.retained,
        began.elapsed().as_millis(),
    );
    logger.log(Kind::Information, text);
    if imported.expired_sessions + imported.expired_messages > 0 {
        let text = format!(
            "Not imported from {path}, since their time had passed: {} sessions, {} messages.",
            imported.expired_sessions, imported.expired_messages
        );
        logger.log(Kind::Information, text);
    }
    if imported.left_out > 0 {
        let text = format!(
            "Warning: {} entries of {path} were not imported: they belong to $SYS, contradict others, \
             or have a topic with too many levels.",
            imported.left_out
        );
        logger.log(Kind::Warning, text);
    }
    for damage in &imported.damage {
        let text = format!("Warning: In {path}, {damage}; the rest was imported.");
        logger.log(Kind::Warning, text);
    }
    let untold = imported
        .damaged
        .saturating_sub(imported.damage.len() as u64);
    if untold > 0 {
        let text =
            format!("Warning: In {path}, {untold} more chunks were left out for such faults.");
        logger.log(Kind::Warning, text);
    }
    if let Some(stop) = &imported.stop {
        let text = format!(
            "Error: {path} could not be read to its end: {stop}. What comes before that was imported."
        );
        logger.log(Kind::Error, text);
    }
}
