//! Choosing a certificate by the host name that the client asks for.

use std::fmt;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The certificates of a server.
pub(super) struct Certificates {
    pub(super) all: Vec<Named>,
}

/// A certificate with the host names in it, in small letters.
pub(super) struct Named {
    pub(super) hosts: Vec<String>,
    pub(super) key: Arc<CertifiedKey>,
}

/// How well a certificate fits; the order is that of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Other,
    Wildcard,
    Exact,
}

impl ResolvesServerCert for Certificates {
    /// The first of those that fit best and whose key the client can verify. Who asks for an unknown
    /// name, or none, gets the first certificate, as Mosquitto would send it.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let schemes = hello.signature_schemes();
        self.best(name.as_deref(), schemes)
    }
}

impl Certificates {
    fn best(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let usable = |named: &&Named| named.key.key.choose_scheme(schemes).is_some();
        let mut best: Option<(Fit, &Named)> = None;
        for named in self.all.iter().filter(usable) {
            let fit = name.map_or(Fit::Other, |name| named.fit(name));
            if best.is_none_or(|(known, _)| fit > known) {
                best = Some((fit, named));
            }
        }
        best.map(|(_, named)| Arc::clone(&named.key))
    }
}

impl Named {
    fn fit(&self, name: &str) -> Fit {
        let domain = name.split_once('.').map(|(_, domain)| domain);
        let fits = self.hosts.iter().map(|host| {
            if host == name {
                Fit::Exact
            } else if domain.is_some() && host.strip_prefix("*.") == domain {
                Fit::Wildcard
            } else {
                Fit::Other
            }
        });
        fits.max().unwrap_or(Fit::Other)
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.all.iter().map(|named| &named.hosts))
            .finish()
    }
}
