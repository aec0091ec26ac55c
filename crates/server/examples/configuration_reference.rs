//! Prints docs/configuration.md from the option table.
//!
//! `cargo run -p midge-server --example configuration_reference > docs/configuration.md`

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use midge_server::config::options::{
    OptionDef, Origin, Reload, Scope, Status, ValueType, reference,
};

const HEAD: &str = "# Configuration

Midge reads `mosquitto.conf`: one option a line, its name and its value, `#` at the start of a line for \
comments. `midge -c FILE` uses a file; without one the broker listens on localhost:1883, lets everybody on \
this machine in, and keeps its state on disk. `midge --test-config -c FILE` checks a file, and SIGHUP makes a running broker read it \
again: what a reload can change changes without disconnecting anyone, and a faulty file changes nothing.

Options before the first `listener` hold for the whole broker, those after it for that listener. Options \
that this version does not support yet are refused with file and line, so that nobody relies on a setting \
that does nothing.

Without a file, the state is in `$STATE_DIRECTORY/midge` when systemd gives that directory, else in \
`/var/lib/midge/midge` for root and in `$XDG_STATE_HOME/midge/midge` or `$HOME/.local/state/midge/midge` for \
others; the log says where. `$MOSQUITTO_PERSISTENCE_LOCATION` comes before all of these. With a file, nothing \
is kept unless it says `persistence true`, as in Mosquitto.

This page is made from the option table (`cargo run -p midge-server --example configuration_reference`).
";

fn main() {
    print!("{HEAD}");
    let of = |wanted: fn(&OptionDef) -> bool| reference().filter(move |option| wanted(option));
    table(
        "The whole broker",
        of(|option| is_supported(option) && option.scope == Scope::General),
    );
    table(
        "Listeners",
        of(|option| is_supported(option) && option.scope != Scope::General),
    );
    println!("\n## Accepted without effect\n");
    for option in reference() {
        if let Status::Accepted(why) = option.status {
            println!("- `{}`: {why}", option.name);
        }
    }
    println!("\n## Known, not supported yet\n");
    for option in reference() {
        if let Status::Later(feature) = option.status {
            println!("- `{}` ({feature})", option.name);
        }
    }
}

fn is_supported(option: &OptionDef) -> bool {
    option.status == Status::Implemented
}

fn table(title: &str, options: impl Iterator<Item = &'static OptionDef>) {
    println!("\n## {title}\n");
    println!("| option | value | default | what it does |");
    println!("|---|---|---|---|");
    for option in options {
        let mut doc = option.doc.to_owned();
        if !option.aliases.is_empty() {
            doc.push_str(&format!(" Also `{}`.", option.aliases.join("`, `")));
        }
        if option.origin == Origin::Midge {
            doc.push_str(" *Midge's own.*");
        }
        match option.reload {
            Reload::Live => {}
            Reload::Reopens => doc.push_str(" A change opens the listener anew."),
            Reload::Restart => doc.push_str(" A change needs a restart."),
        }
        if let Some(advice) = option.deprecated {
            doc.push_str(&format!(" Deprecated in Mosquitto: {advice}"));
        }
        println!(
            "| `{}` | {} | {} | {} |",
            option.name,
            value(option.value),
            cell(option.default),
            doc.replace('|', "\\|")
        );
    }
}

fn cell(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("`{text}`")
    }
}

fn value(kind: ValueType) -> String {
    match kind {
        ValueType::Flag => "true, false".to_owned(),
        ValueType::Number { min, max, .. } if max >= i64::from(u32::MAX) => {
            format!("number from {min}")
        }
        ValueType::Number { min, max, .. } => format!("{min} to {max}"),
        ValueType::Text => "text".to_owned(),
        ValueType::Word(words) => words.join(", "),
        ValueType::Form(form) => form.replace('|', "\\|"),
    }
}
