//! A resolver as it is remembered, and how it changes from one meeting to the next.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::keys::key_tag;
use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::zone::ServerType;

use super::{
    AnchorEvent, AnchorSet, KeySet, KeyState, NotTrusted, TrustState, Verification, ZoneVersions,
};
use crate::discover::{Discovered, Refusal, Tlsa};

/// A resolver as it is remembered. Its name is the key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KnownIdentity {
    /// Its name.
    pub name: ResolverName,
    /// How far it is trusted.
    pub state: TrustState,
    /// How and when it was verified, where it was.
    pub verification: Option<Verification>,
    /// The trust anchor of its `resolver-name.arpa`.
    pub anchor: AnchorSet,
    /// The TLSA records last validated.
    pub tlsa: Vec<Tlsa>,
    /// Where it was last reached.
    pub endpoint: SocketAddr,
    /// What it does with a question.
    pub server_type: ServerType,
    /// When it was first met.
    pub first_seen: UnixTime,
    /// When it was last validated.
    pub last_seen: UnixTime,
    /// When the signatures last validated run out.
    pub signatures_expire: UnixTime,
    /// The newest versions of its zones accepted so far.
    pub versions: ZoneVersions,
}

impl KnownIdentity {
    /// What is remembered of a resolver met for the first time: provisional.
    #[must_use]
    pub fn first_met(discovered: &Discovered) -> Self {
        Self {
            name: discovered.name.clone(),
            state: TrustState::Provisional,
            verification: None,
            anchor: AnchorSet::first_seen(&discovered.keys, discovered.validated),
            tlsa: discovered.tlsa.clone(),
            endpoint: discovered.endpoint,
            server_type: discovered.server_type,
            first_seen: discovered.validated,
            last_seen: discovered.validated,
            signatures_expire: discovered.signatures_expire,
            versions: discovered.versions,
        }
    }

    /// What is remembered after meeting it again. The state stays as it was: age never promotes.
    /// The anchor moves as RFC 5011 has it.
    ///
    /// # Errors
    /// The refusals that a walk which knew this identity would have ended with: it is another
    /// name, a revoked identity, or no key that is trusted signed the keys shown.
    pub fn met_again(&self, discovered: &Discovered) -> Result<Self, Box<Refusal>> {
        self.meet_again(discovered).map(|(met, _)| met)
    }

    /// The same, and what happened to the keys of the anchor.
    ///
    /// # Errors
    /// As above.
    pub fn meet_again(
        &self,
        discovered: &Discovered,
    ) -> Result<(Self, Vec<AnchorEvent>), Box<Refusal>> {
        if self.state == TrustState::Revoked {
            return Err(Box::new(Refusal::IdentityRevoked {
                name: self.name.clone(),
            }));
        }
        if self.name != discovered.name {
            return Err(Box::new(Refusal::NameChanged {
                remembered: self.name.clone(),
                told: discovered.name.clone(),
            }));
        }
        let mut anchor = self.anchor.clone();
        let events = anchor
            .observe(&discovered.keys, discovered.validated)
            .map_err(|_| Box::new(self.not_met(&discovered.keys)))?;
        let (held, seen) = (&self.versions, &discovered.versions);
        let met = Self {
            name: self.name.clone(),
            state: self.state,
            verification: self.verification,
            anchor,
            tlsa: discovered.tlsa.clone(),
            endpoint: discovered.endpoint,
            server_type: discovered.server_type,
            first_seen: self.first_seen,
            last_seen: self.last_seen.max(discovered.validated),
            signatures_expire: discovered.signatures_expire,
            versions: ZoneVersions {
                anchor_zone: held.anchor_zone.raised_to(seen.anchor_zone),
                name_zone: held.name_zone.raised_to(seen.name_zone),
            },
        };
        Ok((met, events))
    }

    /// As [`KnownIdentity::distrust`], for a walk that did not know this identity: it did not look
    /// whether there are successors, and so nothing is over for good.
    fn not_met(&self, shown: &KeySet) -> Refusal {
        match self.distrust(shown) {
            Refusal::IdentityRevoked { .. } => self.anchor_changed(shown),
            refusal => refusal,
        }
    }

    /// Why these keys are not believed to be this resolver's, as far as that is so, where it is
    /// proven that no key that is remembered has a successor among them.
    pub(crate) fn distrust(&self, shown: &KeySet) -> Refusal {
        let name = self.name.clone();
        let returned = shown.valid_signers().filter(|signer| {
            let standing = self.anchor.standing(signer);
            standing.is_some_and(KeyState::is_gone)
        });
        let returned: Vec<u16> = returned.map(key_tag).collect();
        match self.anchor.judge(shown) {
            Err(NotTrusted::AllRevoked) => Refusal::IdentityRevoked { name },
            _ if !returned.is_empty() => Refusal::RevokedKeyReturned {
                name,
                key_tags: returned,
            },
            _ => self.anchor_changed(shown),
        }
    }

    pub(crate) fn anchor_changed(&self, shown: &KeySet) -> Refusal {
        Refusal::AnchorChanged {
            name: self.name.clone(),
            remembered: self.anchor.trusted().iter().map(key_tag).collect(),
            shown: shown.keys.iter().map(key_tag).collect(),
        }
    }

    /// What is to be remembered after a refusal; none where that is what is remembered already.
    /// Only the owner of its keys can revoke an identity, so that this needs no TLS key to be
    /// proven.
    #[must_use]
    pub fn after(&self, refusal: &Refusal) -> Option<Self> {
        match refusal {
            Refusal::IdentityRevoked { name }
                if *name == self.name && self.state != TrustState::Revoked =>
            {
                Some(self.clone().revoked())
            }
            _ => None,
        }
    }

    /// The same identity, verified. One that was revoked stays so.
    #[must_use]
    pub fn verified(self, verification: Verification) -> Self {
        if self.state == TrustState::Revoked {
            return self;
        }
        Self {
            state: TrustState::Verified,
            verification: Some(verification),
            ..self
        }
    }

    /// The same identity, never to be used again.
    #[must_use]
    pub fn revoked(self) -> Self {
        Self {
            state: TrustState::Revoked,
            ..self
        }
    }
}
