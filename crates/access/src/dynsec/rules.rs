//! What one client may do, decided without looking anything up.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Action, Client, Decision};

use super::state::{Acl, AclKind, Defaults, Ranked, Role, State};
use super::topics::Topics;

/// What the rules say to one action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A rule or the default access allows it.
    Allow,
    /// A rule denies it.
    Deny,
    /// No rule fits and the default access does not allow it. Where nothing else is asked, it is denied.
    Defer,
}

impl Verdict {
    /// Whether it is [`Verdict::Allow`].
    #[must_use]
    pub const fn is_allowed(self) -> bool {
        matches!(self, Self::Allow)
    }
}

/// The rules of one client, as they were when they were asked for.
///
/// They are looked at in Mosquitto's order, and the first that fits decides: the roles of the client, then
/// those of its groups; groups, roles and rules each by falling priority, groups and roles of one priority
/// by name. Among the rules of a role for topic filters, a literal one comes before the patterns. What no
/// rule fits has the default access, except topics that begin with `$CONTROL`.
///
/// The value holds the roles by reference, so that it costs little however many clients share them.
#[derive(Clone, Debug)]
pub struct Rules {
    client_id: Box<str>,
    user_name: Option<Box<str>>,
    /// Each with the group that it came by.
    roles: Vec<(Arc<CompiledRole>, Option<Arc<str>>)>,
    /// `None` for a client that these rules do not know: everything is left to others.
    defaults: Option<Defaults>,
}

impl State {
    /// The rules of a client: those of its user name, or those of the anonymous group for one without.
    ///
    /// For a user name that is unknown here every answer is [`Verdict::Defer`].
    #[must_use]
    pub fn rules(&self, client: Client<'_>) -> Rules {
        let mut rules = Rules {
            client_id: client.id.into(),
            user_name: client.user_name.map(Into::into),
            roles: Vec::new(),
            defaults: Some(self.defaults),
        };
        if let Some(user_name) = client.user_name {
            let Some(account) = self.clients.get(user_name) else {
                rules.defaults = None;
                return rules;
            };
            self.add_roles(&mut rules, &account.roles, None);
            for (name, _) in account.groups.iter() {
                self.add_group(&mut rules, name);
            }
        } else if let Some(name) = &self.anonymous_group {
            self.add_group(&mut rules, name);
        }
        rules.roles.shrink_to_fit();
        rules
    }

    fn add_group(&self, rules: &mut Rules, name: &str) {
        if let Some(group) = self.groups.get(name) {
            self.add_roles(rules, &group.roles, Some(&Arc::from(name)));
        }
    }

    fn add_roles(&self, rules: &mut Rules, roles: &Ranked, group: Option<&Arc<str>>) {
        for (name, _) in roles.iter() {
            if let Some(role) = self.roles.get(name) {
                rules.roles.push((role.compiled(name), group.cloned()));
            }
        }
    }
}

impl Rules {
    /// Whether the client may. `topic` is a topic name for [`Action::Publish`] and [`Action::Deliver`],
    /// and the topic filter as the client sent it, `$share/…` included, for the other two.
    #[must_use]
    pub fn decide(&self, action: Action, topic: &str) -> Verdict {
        match self.find(action, topic) {
            Some((_, Found::Acl(acl))) => verdict(acl.allow),
            Some((_, Found::Wildcard | Found::Broken(_))) => Verdict::Deny,
            None => self.default_access(action, topic),
        }
    }

    /// The same, with the role and rule that decide, for a log or a person.
    #[must_use]
    pub fn explain(&self, action: Action, topic: &str) -> Decision {
        let Some((place, found)) = self.find(action, topic) else {
            return self.explain_default(action, topic);
        };
        let (role, group) = match self.roles.get(place) {
            Some((role, group)) => (&*role.name, group.as_deref()),
            None => ("", None),
        };
        let mut rule = format!("role {role}");
        if let Some(group) = group {
            rule.push_str(" of group ");
            rule.push_str(group);
        }
        rule.push_str(", ");
        match found {
            Found::Acl(acl) => rule.push_str(&acl.label()),
            Found::Wildcard => rule.push_str("allowwildcardsubs false"),
            Found::Broken(acl) => {
                rule.push_str(&acl.label());
                rule.push_str(", which denies since its topic is no topic filter");
            }
        }
        Decision {
            allowed: matches!(found, Found::Acl(acl) if acl.allow),
            rule,
        }
    }

    /// Whether the client is known here at all.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.defaults.is_some()
    }

    fn find(&self, action: Action, topic: &str) -> Option<(usize, Found<'_>)> {
        let client = Client {
            id: &self.client_id,
            user_name: self.user_name.as_deref(),
        };
        self.roles
            .iter()
            .enumerate()
            .find_map(|(place, (role, _))| Some((place, role.find(action, topic, client)?)))
    }

    fn default_access(&self, action: Action, topic: &str) -> Verdict {
        let Some(defaults) = self.defaults else {
            return Verdict::Defer;
        };
        let allow = match action {
            Action::Publish => defaults.publish_send,
            Action::Deliver => defaults.publish_receive,
            Action::Subscribe => defaults.subscribe,
            Action::Unsubscribe => defaults.unsubscribe,
        };
        if allow && !topic.starts_with("$CONTROL") {
            Verdict::Allow
        } else {
            Verdict::Defer
        }
    }

    fn explain_default(&self, action: Action, topic: &str) -> Decision {
        let allowed = self.default_access(action, topic) == Verdict::Allow;
        let name = match action {
            Action::Publish => "publishClientSend",
            Action::Deliver => "publishClientReceive",
            Action::Subscribe => "subscribe",
            Action::Unsubscribe => "unsubscribe",
        };
        let rule = if self.defaults.is_none() {
            "dynamic security does not know the user".to_owned()
        } else if topic.starts_with("$CONTROL") {
            "no rule allows it, and $CONTROL has no default access".to_owned()
        } else {
            format!("no rule fits, defaultACLAccess {name} {allowed}")
        };
        Decision { allowed, rule }
    }
}

const fn verdict(allow: bool) -> Verdict {
    if allow { Verdict::Allow } else { Verdict::Deny }
}

/// What decided in a role.
#[derive(Clone, Copy, Debug)]
enum Found<'a> {
    Acl(&'a CompiledAcl),
    /// The role refuses wildcards.
    Wildcard,
    Broken(&'a CompiledAcl),
}

/// A role in the form that decides.
#[derive(Debug)]
pub(super) struct CompiledRole {
    name: Box<str>,
    allow_wildcard_subs: bool,
    send: Patterns,
    receive: Patterns,
    subscribe: Filters,
    unsubscribe: Filters,
}

impl CompiledRole {
    pub(super) fn new(name: &str, role: &Role) -> Self {
        let patterns = |kind| Patterns::new(kind, role.acls(kind));
        Self {
            name: name.into(),
            allow_wildcard_subs: role.allow_wildcard_subs,
            send: patterns(AclKind::PublishSend),
            receive: patterns(AclKind::PublishReceive),
            subscribe: Filters {
                literals: literals(AclKind::SubscribeLiteral, role),
                patterns: patterns(AclKind::SubscribePattern),
            },
            unsubscribe: Filters {
                literals: literals(AclKind::UnsubscribeLiteral, role),
                patterns: patterns(AclKind::UnsubscribePattern),
            },
        }
    }

    fn find(&self, action: Action, topic: &str, client: Client<'_>) -> Option<Found<'_>> {
        match action {
            Action::Publish => self.send.find(topic, client),
            Action::Deliver => self.receive.find(topic, client),
            Action::Subscribe => {
                if !self.allow_wildcard_subs && midge_codec::topic::has_wildcard(topic) {
                    return Some(Found::Wildcard);
                }
                self.subscribe.find(topic, client)
            }
            Action::Unsubscribe => self.unsubscribe.find(topic, client),
        }
    }
}

#[derive(Debug)]
struct CompiledAcl {
    kind: AclKind,
    topic: Box<str>,
    priority: i32,
    allow: bool,
}

impl CompiledAcl {
    fn new(kind: AclKind, acl: &Acl) -> Self {
        Self {
            kind,
            topic: acl.topic.as_str().into(),
            priority: acl.priority,
            allow: acl.allow,
        }
    }

    fn label(&self) -> String {
        let (kind, topic, priority) = (self.kind.name(), &self.topic, self.priority);
        let allow = if self.allow { "allow" } else { "deny" };
        format!("{kind} {topic} ({allow}, priority {priority})")
    }
}

#[derive(Debug)]
struct Patterns {
    topics: Topics,
    acls: Vec<CompiledAcl>,
}

impl Patterns {
    fn new(kind: AclKind, acls: &[Acl]) -> Self {
        Self {
            topics: Topics::new(acls.iter().map(|acl| acl.topic.as_str())),
            acls: acls.iter().map(|acl| CompiledAcl::new(kind, acl)).collect(),
        }
    }

    fn find(&self, topic: &str, client: Client<'_>) -> Option<Found<'_>> {
        let (position, broken) = self.topics.first(topic, client)?;
        let acl = self.acls.get(position)?;
        Some(if broken {
            Found::Broken(acl)
        } else {
            Found::Acl(acl)
        })
    }
}

#[derive(Debug)]
struct Filters {
    literals: BTreeMap<Box<str>, CompiledAcl>,
    patterns: Patterns,
}

impl Filters {
    fn find(&self, topic: &str, client: Client<'_>) -> Option<Found<'_>> {
        match self.literals.get(topic) {
            Some(acl) => Some(Found::Acl(acl)),
            None => self.patterns.find(topic, client),
        }
    }
}

fn literals(kind: AclKind, role: &Role) -> BTreeMap<Box<str>, CompiledAcl> {
    role.acls(kind)
        .iter()
        .map(|acl| (acl.topic.as_str().into(), CompiledAcl::new(kind, acl)))
        .collect()
}

#[cfg(test)]
mod tests;
