//! What the rules of one listener say about a client, as the broker asks it.

use std::any::Any;
use std::sync::Arc;

use midge_access::{acl, dynsec, tokens};
use midge_broker::{Action, Reviewed, Rights};

/// The rules of one client: those of the access file, those of dynamic security, and those that came with
/// its login, where there are such. All of them have to allow what is to be allowed.
#[derive(Debug)]
pub(super) struct ClientRights {
    pub(super) acl: Option<acl::ClientRules>,
    pub(super) dynsec: Option<dynsec::Rules>,
    pub(super) login: Option<Arc<LoginRules>>,
}

/// What a token or the HTTP back end says about a client beside its name. It holds as long as the login.
#[derive(Debug)]
pub(super) struct LoginRules {
    pub(super) rules: Option<tokens::rules::Rules>,
    /// Groups of the access file.
    pub(super) groups: Vec<String>,
}

const fn action(action: Action) -> midge_access::Action {
    match action {
        Action::Publish => midge_access::Action::Publish,
        Action::Deliver => midge_access::Action::Deliver,
        Action::Subscribe => midge_access::Action::Subscribe,
        Action::Unsubscribe => midge_access::Action::Unsubscribe,
    }
}

impl ClientRights {
    fn login(&self) -> Option<&tokens::rules::Rules> {
        self.login.as_ref()?.rules.as_ref()
    }

    fn acl_allows(&self, asked: midge_access::Action, topic: &str) -> bool {
        let acl = self.acl.as_ref();
        acl.is_none_or(|rules| rules.decide(asked, topic))
    }

    fn dynsec_allows(&self, asked: midge_access::Action, topic: &str) -> bool {
        let dynsec = self.dynsec.as_ref();
        dynsec.is_none_or(|rules| rules.decide(asked, topic) == dynsec::Verdict::Allow)
    }

    fn login_allows(&self, asked: midge_access::Action, topic: &str) -> bool {
        self.login().is_none_or(|rules| rules.decide(asked, topic))
    }
}

/// What came with the login of a connected client.
pub(super) fn login_rules(client: &Reviewed<'_>) -> Option<Arc<LoginRules>> {
    let rights: &dyn Any = &**client.rights?;
    rights.downcast_ref::<ClientRights>()?.login.clone()
}

impl Rights for ClientRights {
    fn allows(&self, asked: Action, topic: &str) -> bool {
        let asked = action(asked);
        self.acl_allows(asked, topic)
            && self.dynsec_allows(asked, topic)
            && self.login_allows(asked, topic)
    }

    fn explain(&self, asked: Action, topic: &str) -> String {
        let asked = action(asked);
        // What denies explains it; if nothing does, what was asked last.
        if let Some(rules) = &self.acl
            && !rules.decide(asked, topic)
        {
            return rules.explain(asked, topic).rule;
        }
        if let Some(rules) = &self.dynsec
            && !self.dynsec_allows(asked, topic)
        {
            return rules.explain(asked, topic).rule;
        }
        let acl = || self.acl.as_ref().map(|rules| rules.explain(asked, topic));
        let dynsec = || {
            self.dynsec
                .as_ref()
                .map(|rules| rules.explain(asked, topic))
        };
        let login = || self.login().map(|rules| rules.explain(asked, topic));
        login().or_else(dynsec).or_else(acl).map_or_else(
            || "everything is allowed".to_owned(),
            |decision| decision.rule,
        )
    }
}
