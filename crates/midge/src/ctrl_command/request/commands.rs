//! The commands that each module has, as data, and the help made from it.

use super::Module;

/// What stands behind the name of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Texts that have to be there, one that may, and a priority that may.
    Texts {
        needed: &'static [&'static str],
        optional: Option<&'static str>,
        priority: bool,
    },
    /// `[count [offset]]`
    List,
    CreateClient,
    SetPassword,
    DefaultAccess,
    AddAcl,
    RemoveAcl,
    /// A name, then a property and its new value.
    Modify(&'static str),
}

#[derive(Debug)]
pub(super) struct Spec {
    /// The heading above the command in the help; empty when it is the one before.
    section: &'static str,
    pub(super) name: &'static str,
    pub(super) usage: &'static str,
    help: &'static str,
    pub(super) form: Form,
}

const fn texts(needed: &'static [&'static str]) -> Form {
    Form::Texts {
        needed,
        optional: None,
        priority: false,
    }
}

const fn optional(needed: &'static [&'static str], more: &'static str) -> Form {
    Form::Texts {
        needed,
        optional: Some(more),
        priority: false,
    }
}

const fn ranked(needed: &'static [&'static str]) -> Form {
    Form::Texts {
        needed,
        optional: None,
        priority: true,
    }
}

const fn spec(name: &'static str, usage: &'static str, help: &'static str, form: Form) -> Spec {
    section("", name, usage, help, form)
}

const fn section(
    section: &'static str,
    name: &'static str,
    usage: &'static str,
    help: &'static str,
    form: Form,
) -> Spec {
    Spec {
        section,
        name,
        usage,
        help,
        form,
    }
}

const BROKER: &[Spec] = &[
    spec("listPlugins", "", "Lists plugins.", texts(&[])),
    spec("listListeners", "", "Lists listeners.", texts(&[])),
    section("Bans", "listBans", "", "Lists who is banned.", texts(&[])),
    spec(
        "banAddress",
        "<address> [seconds]",
        "Bans an address, or its /64 network of IPv6.",
        optional(&["address"], "seconds"),
    ),
    spec(
        "unbanAddress",
        "<address>",
        "Lifts that, and forgets failed logins.",
        texts(&["address"]),
    ),
    spec(
        "banUser",
        "<username> [seconds]",
        "Bans a user.",
        optional(&["username"], "seconds"),
    ),
    spec(
        "unbanUser",
        "<username>",
        "Lifts that, and forgets failed logins.",
        texts(&["username"]),
    ),
];

const DYNSEC: &[Spec] = &[
    section(
        "General",
        "getDefaultACLAccess",
        "",
        "Shows what is allowed where no ACL fits.",
        texts(&[]),
    ),
    spec(
        "setDefaultACLAccess",
        "<acltype> allow|deny",
        "Sets it; also for subscribe and unsubscribe.",
        Form::DefaultAccess,
    ),
    spec(
        "getAnonymousGroup",
        "",
        "Shows the group of those without user name.",
        texts(&[]),
    ),
    spec(
        "setAnonymousGroup",
        "<groupname>",
        "Sets it.",
        texts(&["groupname"]),
    ),
    spec(
        "getDetails",
        "",
        "Counts clients, groups and roles.",
        texts(&[]),
    ),
    section(
        "Clients",
        "createClient",
        "<username> [-i clientid] [-p password]",
        "Creates a client.",
        Form::CreateClient,
    ),
    spec(
        "deleteClient",
        "<username>",
        "Deletes a client.",
        texts(&["username"]),
    ),
    spec(
        "getClient",
        "<username>",
        "Shows a client.",
        texts(&["username"]),
    ),
    spec(
        "listClients",
        "[count [offset]]",
        "Lists clients.",
        Form::List,
    ),
    spec(
        "setClientPassword",
        "<username> [password]",
        "Sets a password.",
        Form::SetPassword,
    ),
    spec(
        "setClientId",
        "<username> [clientid]",
        "Binds a client to a client id, or to none.",
        Form::Texts {
            needed: &["username"],
            optional: Some("clientid"),
            priority: false,
        },
    ),
    spec(
        "addClientRole",
        "<username> <rolename> [priority]",
        "Gives a client a role.",
        ranked(&["username", "rolename"]),
    ),
    spec(
        "removeClientRole",
        "<username> <rolename>",
        "Takes a role away.",
        texts(&["username", "rolename"]),
    ),
    spec(
        "enableClient",
        "<username>",
        "Lets a client log in again.",
        texts(&["username"]),
    ),
    spec(
        "disableClient",
        "<username>",
        "Lets a client log in no longer.",
        texts(&["username"]),
    ),
    spec(
        "modifyClient",
        "<username> textName|textDescription <text>",
        "Describes a client.",
        Form::Modify("username"),
    ),
    section(
        "Groups",
        "createGroup",
        "<groupname>",
        "Creates a group.",
        texts(&["groupname"]),
    ),
    spec(
        "deleteGroup",
        "<groupname>",
        "Deletes a group.",
        texts(&["groupname"]),
    ),
    spec(
        "getGroup",
        "<groupname>",
        "Shows a group.",
        texts(&["groupname"]),
    ),
    spec(
        "listGroups",
        "[count [offset]]",
        "Lists groups.",
        Form::List,
    ),
    spec(
        "addGroupRole",
        "<groupname> <rolename> [priority]",
        "Gives a group a role.",
        ranked(&["groupname", "rolename"]),
    ),
    spec(
        "removeGroupRole",
        "<groupname> <rolename>",
        "Takes a role away.",
        texts(&["groupname", "rolename"]),
    ),
    spec(
        "addGroupClient",
        "<groupname> <username> [priority]",
        "Puts a client into a group.",
        ranked(&["groupname", "username"]),
    ),
    spec(
        "removeGroupClient",
        "<groupname> <username>",
        "Takes a client out.",
        texts(&["groupname", "username"]),
    ),
    spec(
        "modifyGroup",
        "<groupname> textName|textDescription <text>",
        "Describes a group.",
        Form::Modify("groupname"),
    ),
    section(
        "Roles",
        "createRole",
        "<rolename>",
        "Creates a role.",
        texts(&["rolename"]),
    ),
    spec(
        "deleteRole",
        "<rolename>",
        "Deletes a role.",
        texts(&["rolename"]),
    ),
    spec(
        "getRole",
        "<rolename>",
        "Shows a role.",
        texts(&["rolename"]),
    ),
    spec("listRoles", "[count [offset]]", "Lists roles.", Form::List),
    spec(
        "addRoleACL",
        "<rolename> <acltype> <topicFilter> allow|deny [priority]",
        "Adds an ACL.",
        Form::AddAcl,
    ),
    spec(
        "removeRoleACL",
        "<rolename> <acltype> <topicFilter>",
        "Takes an ACL away.",
        Form::RemoveAcl,
    ),
    spec(
        "modifyRole",
        "<rolename> textName|textDescription|allowWildcardSubs <value>",
        "Describes a role.",
        Form::Modify("rolename"),
    ),
];

impl Module {
    /// What is printed for `help`.
    pub(in crate::ctrl_command) fn help(self) -> String {
        let mut text = String::new();
        let (title, options) = match self {
            Self::Broker => ("Broker Control module", ""),
            Self::Dynsec => ("Dynamic Security module", DYNSEC_OFFLINE),
        };
        text.push_str(&format!("{title}\n{}\n{options}", "=".repeat(title.len())));
        for spec in self.specs() {
            if !spec.section.is_empty() {
                text.push_str(&format!("\n{}\n", spec.section));
            }
            let usage = format!("{} {}", spec.name, spec.usage);
            if usage.len() > LEFT_COLUMN {
                text.push_str(&format!("  {usage}\n  {:LEFT_COLUMN$} {}\n", "", spec.help));
            } else {
                text.push_str(&format!("  {usage:<LEFT_COLUMN$} {}\n", spec.help));
            }
        }
        if self == Self::Dynsec {
            text.push_str(DYNSEC_TYPES);
        }
        text
    }

    pub(super) const fn specs(self) -> &'static [Spec] {
        match self {
            Self::Broker => BROKER,
            Self::Dynsec => DYNSEC,
        }
    }
}

const LEFT_COLUMN: usize = 52;

const DYNSEC_OFFLINE: &str = "
Without a broker
  init <file> <admin-username> [admin-password]
      Creates a file with a user who may administer dynamic security.
  -f <file> dynsec setClientPassword <username> [password] [-i iterations]
      Sets a password in a file while no broker uses it.
";

const DYNSEC_TYPES: &str = "
acltype: publishClientSend, publishClientReceive, subscribeLiteral, subscribePattern,
         unsubscribeLiteral or unsubscribePattern
Of roles, groups and ACLs those with the higher priority are looked at first.
";
