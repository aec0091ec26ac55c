//! What the files of one listener say, as the broker asks it.

use midge_access::{acl, dynsec};
use midge_broker::{Action, Rights};

/// The rules of one client: those of the access file and those of dynamic security, where there are such.
/// Both have to allow what is to be allowed.
#[derive(Debug)]
pub(super) struct ClientRights {
    pub(super) acl: Option<acl::ClientRules>,
    pub(super) dynsec: Option<dynsec::Rules>,
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
    fn acl_allows(&self, asked: midge_access::Action, topic: &str) -> bool {
        let acl = self.acl.as_ref();
        acl.is_none_or(|rules| rules.decide(asked, topic))
    }

    fn dynsec_allows(&self, asked: midge_access::Action, topic: &str) -> bool {
        let dynsec = self.dynsec.as_ref();
        dynsec.is_none_or(|rules| rules.decide(asked, topic) == dynsec::Verdict::Allow)
    }
}

impl Rights for ClientRights {
    fn allows(&self, asked: Action, topic: &str) -> bool {
        let asked = action(asked);
        self.acl_allows(asked, topic) && self.dynsec_allows(asked, topic)
    }

    fn explain(&self, asked: Action, topic: &str) -> String {
        let asked = action(asked);
        let acl = self.acl.as_ref();
        let dynsec = self.dynsec.as_ref();
        match (acl, dynsec) {
            (Some(rules), _) if !rules.decide(asked, topic) => rules.explain(asked, topic).rule,
            (_, Some(rules)) => rules.explain(asked, topic).rule,
            (Some(rules), None) => rules.explain(asked, topic).rule,
            (None, None) => "everything is allowed".to_owned(),
        }
    }
}
