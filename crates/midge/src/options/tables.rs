//! The options of every tool.

use super::{Command, Group, Id, Operand, Opt, Values};

mod bench;
mod connect;
mod ctrl;
mod messages;
mod top;

pub(crate) use bench::{BENCH, CONN, FAN_IN, FAN_OUT, IDLE, OFFLINE, P2P, RETAINED, WILDCARD};
pub(crate) use ctrl::CTRL;
pub(crate) use messages::{PUB, RR, SUB};
pub(crate) use top::TOP;

/// The options that a command has for itself.
pub(crate) const fn own(options: &'static [Opt]) -> Group {
    Group { title: "", options }
}

/// An option without a value.
pub(crate) const fn flag(id: Id, names: &'static [&'static str], help: &'static str) -> Opt {
    Opt {
        id,
        names,
        operand: None,
        help,
    }
}

/// An option with a value.
pub(crate) const fn valued(
    id: Id,
    names: &'static [&'static str],
    name: &'static str,
    missing: &'static str,
    help: &'static str,
) -> Opt {
    with_operand(id, names, (name, Values::Any), missing, help)
}

/// An option whose value is one of `values`, or another spelling of one.
pub(crate) const fn chosen(
    id: Id,
    names: &'static [&'static str],
    (name, values): (&'static str, &'static [&'static str]),
    missing: &'static str,
    help: &'static str,
) -> Opt {
    with_operand(id, names, (name, Values::Of(values)), missing, help)
}

/// An option whose value is the path of a file.
pub(crate) const fn file(
    id: Id,
    names: &'static [&'static str],
    name: &'static str,
    missing: &'static str,
    help: &'static str,
) -> Opt {
    with_operand(id, names, (name, Values::Files), missing, help)
}

const fn with_operand(
    id: Id,
    names: &'static [&'static str],
    (name, values): (&'static str, Values),
    missing: &'static str,
    help: &'static str,
) -> Opt {
    let operand = Some(Operand {
        name,
        missing,
        values,
    });
    Opt {
        id,
        names,
        operand,
        help,
    }
}

const QOS: Opt = chosen(
    Id::QoS,
    &["-q", "--qos"],
    ("qos", &["0", "1", "2"]),
    "-q argument given but no QoS specified.",
    "Quality of service: 0, 1 or 2. Defaults to 0.",
);

const SESSION_EXPIRY: Opt = valued(
    Id::SessionExpiry,
    &["-x"],
    "seconds",
    "-x argument given but no session expiry interval specified.",
    "How long an MQTT 5 session outlives its connection; -1 for ever. Defaults to -1 with -c, \
     to 0 without. Implies -V 5.",
);
