//! What a code or a phrase in somebody's hand says about the resolvers that were met. Without IO.
//!
//! Both are compared with the key of `resolver-name.arpa` that signed what was validated last. That a key
//! is merely in the set that was shown means nothing: anybody can show the public key of anybody.

use hickory_proto::dnssec::rdata::DS;
use zzdot_zonegen::keys::ds;
use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::owners::anchor_zone;
use zzdot_zonegen::phrase::Phrase;
use zzdot_zonegen::uri::VerificationUri;

use crate::trust::{KnownIdentity, TrustState};

/// Words of a phrase that may differ for it to be called mistyped: any more, and it is another's.
const SLIPS_MAX: usize = 2;

/// Why somebody is not vouched for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The name is right, and the key is another one.
    #[error("{name} was met with another key than the one in the code")]
    OtherKey {
        /// Whose code it is.
        name: ResolverName,
    },
    /// It revoked itself, or somebody did.
    #[error("{0} is revoked: nothing brings it back")]
    Revoked(ResolverName),
    /// Nobody was met with whom to compare.
    #[error("no resolver was met with which to compare")]
    NobodyMet,
    /// The one named was not met.
    #[error("{0} was not met")]
    NotMet(ResolverName),
    /// All but one word or two are those of a resolver that was met.
    #[error("{}: compare {} again", told_words(words), if words.len() == 1 { "it" } else { "them" })]
    Mistyped {
        /// Of whom.
        name: ResolverName,
        /// Which words, counted from one.
        words: Vec<usize>,
    },
    /// It is the phrase of somebody else than the one named.
    #[error("this is the phrase of {actual}, not of {named}")]
    Other {
        /// Who was named.
        named: ResolverName,
        /// Whose phrase it is.
        actual: ResolverName,
    },
    /// It is nobody's.
    #[error("no resolver that was met has this phrase")]
    Nobody,
}

impl Mismatch {
    /// A stable name in kebab-case.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::OtherKey { .. } => "other-key",
            Self::Revoked(_) => "identity-revoked",
            Self::NobodyMet => "nobody-met",
            Self::NotMet(_) => "not-met",
            Self::Mistyped { .. } => "mistyped",
            Self::Other { .. } => "other-resolver",
            Self::Nobody => "phrase-of-nobody",
        }
    }

    /// What it most likely means, and what to do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::OtherKey { .. } => Some(
                "either the code was printed before two changes of the key, or somebody else took the name: \
                 look at `zzdot identity --qr` on the resolver itself, and do not go on until they agree; \
                 `zzdot-client pending --dismiss NAME` takes away who only waits",
            ),
            Self::Nobody => Some(
                "either it belongs to another resolver, or the one that answers here is not the one you mean: \
                 `zzdot-client pending` tells who was met",
            ),
            Self::NobodyMet | Self::NotMet(_) => Some(
                "`zzdot-client pending` tells who was met; a resolver that was not can be vouched for by its code: \
                 `zzdot-client verify`",
            ),
            Self::Mistyped { .. } | Self::Other { .. } => {
                Some("`zzdot-client pending` tells who was met")
            }
            Self::Revoked(_) => None,
        }
    }
}

/// The phrase of a resolver; none where it is not known which key signs.
#[must_use]
pub fn phrase_of(identity: &KnownIdentity) -> Option<Phrase> {
    Some(Phrase::of(&identity.name, &active_ds(identity)?))
}

fn active_ds(identity: &KnownIdentity) -> Option<DS> {
    Some(ds(&anchor_zone(), identity.anchor.active()?))
}

/// The code vouches for all of `met`, which are what is known of the resolver that it names. None of them may contradict.
///
/// # Errors
/// [`Mismatch::OtherKey`] and [`Mismatch::Revoked`].
pub fn compare_code(uri: &VerificationUri, met: &[&KnownIdentity]) -> Result<(), Box<Mismatch>> {
    let name = uri.name();
    if met
        .iter()
        .any(|identity| identity.state == TrustState::Revoked)
    {
        return Err(Box::new(Mismatch::Revoked(name.clone())));
    }
    let is_in_code = |identity: &&KnownIdentity| {
        let active = active_ds(identity);
        identity.name == *name && active.is_some_and(|active| uri.anchors().contains(&active))
    };
    match met.iter().all(is_in_code) {
        true => Ok(()),
        false => Err(Box::new(Mismatch::OtherKey { name: name.clone() })),
    }
}

/// Whose of `met` a phrase is; only `named` is looked for, where somebody is.
///
/// # Errors
/// Why it is nobody's.
pub fn find_by_phrase(
    typed: Phrase,
    named: Option<&ResolverName>,
    met: &[KnownIdentity],
) -> Result<ResolverName, Box<Mismatch>> {
    let phrases = met
        .iter()
        .filter_map(|identity| Some((identity, phrase_of(identity)?)));
    let phrases: Vec<(&KnownIdentity, Phrase)> = phrases.collect();
    let owner = phrases.iter().find(|(_, phrase)| *phrase == typed);
    match (owner, named) {
        (Some((owner, _)), named) if named.is_none_or(|named| *named == owner.name) => {
            match owner.state {
                TrustState::Revoked => Err(Box::new(Mismatch::Revoked(owner.name.clone()))),
                _ => Ok(owner.name.clone()),
            }
        }
        (Some((owner, _)), Some(named)) => Err(Box::new(Mismatch::Other {
            named: named.clone(),
            actual: owner.name.clone(),
        })),
        _ => Err(Box::new(nobody(typed, named, &phrases))),
    }
}

fn nobody(
    typed: Phrase,
    named: Option<&ResolverName>,
    phrases: &[(&KnownIdentity, Phrase)],
) -> Mismatch {
    let is_named = |identity: &KnownIdentity| named.is_none_or(|named| *named == identity.name);
    let candidates: Vec<_> = phrases
        .iter()
        .filter(|(identity, _)| is_named(identity))
        .collect();
    let slips = candidates.iter().map(|(identity, phrase)| {
        let words = phrase.differing_words(typed);
        (words.len(), identity.name.clone(), words)
    });
    match (slips.min(), named) {
        (Some((count, name, words)), _) if count <= SLIPS_MAX => Mismatch::Mistyped { name, words },
        (None, Some(named)) => Mismatch::NotMet(named.clone()),
        (None, None) => Mismatch::NobodyMet,
        _ => Mismatch::Nobody,
    }
}

fn told_words(words: &[usize]) -> String {
    let numbers: Vec<String> = words.iter().map(usize::to_string).collect();
    match numbers.len() {
        1 => format!(
            "word {} is another one in the phrase of the resolver that was met",
            numbers[0]
        ),
        _ => format!(
            "words {} are others in the phrase of the resolver that was met",
            numbers.join(" and ")
        ),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use hickory_proto::dnssec::rdata::DNSKEY;
    use hickory_proto::dnssec::{Algorithm, PublicKeyBuf};
    use zzdot_zonegen::clock::UnixTime;
    use zzdot_zonegen::zone::ServerType;

    use super::*;
    use crate::trust::{AnchorSet, ZoneVersion, ZoneVersions};

    pub(crate) fn key(fill: u8) -> DNSKEY {
        DNSKEY::with_flags(
            257,
            PublicKeyBuf::new(vec![fill; 64], Algorithm::ECDSAP256SHA256),
        )
    }

    /// A resolver that shows the key of this number, by which it signs, and the next one.
    pub(crate) fn identity(number: u8) -> KnownIdentity {
        let version = ZoneVersion {
            serial: 7,
            inception: UnixTime(1000),
            accepted: UnixTime(2000),
        };
        let keys = [key(number), key(number + 1)];
        KnownIdentity {
            name: format!("{number:0>20}.zz").parse().unwrap(),
            state: TrustState::Provisional,
            verification: None,
            anchor: AnchorSet::first_use(&keys, Some(&keys[0]), UnixTime(1000)),
            tlsa: vec![format!("3 1 1 {}", "ab".repeat(32)).parse().unwrap()],
            endpoint: "192.0.2.1:853".parse().unwrap(),
            server_type: ServerType::Resolver,
            first_seen: UnixTime(1000),
            last_seen: UnixTime(2000),
            signatures_expire: UnixTime(9000),
            versions: ZoneVersions {
                anchor_zone: version,
                name_zone: version,
            },
        }
    }

    pub(crate) fn code(name: &ResolverName, keys: &[DNSKEY]) -> VerificationUri {
        let anchors = keys.iter().map(|key| ds(&anchor_zone(), key)).collect();
        VerificationUri::new(name.clone(), anchors, []).unwrap()
    }

    #[test]
    fn a_code_vouches_for_the_key_that_signs_be_it_the_first_in_it_or_the_second() {
        let met = identity(1);
        let today = code(&met.name, &[key(1), key(2)]);
        let before_a_roll_over = code(&met.name, &[key(9), key(1)]);
        for uri in [today, before_a_roll_over] {
            assert_eq!(compare_code(&uri, &[&met]), Ok(()));
        }
    }

    #[test]
    fn a_key_that_is_shown_and_does_not_sign_proves_nothing() {
        // The impostor shows the genuine key beside its own, by which it signs.
        let met = identity(1);
        let genuine = code(&met.name, &[key(2)]);
        let name = met.name.clone();
        assert_eq!(
            compare_code(&genuine, &[&met]),
            Err(Box::new(Mismatch::OtherKey { name }))
        );
    }

    #[test]
    fn a_code_has_to_agree_with_everything_that_is_known_of_the_name() {
        let (known, mut met) = (identity(1), identity(1));
        met.anchor = identity(5).anchor;
        let uri = code(&known.name, &[key(1)]);
        let name = known.name.clone();
        assert_eq!(
            compare_code(&uri, &[&known, &met]),
            Err(Box::new(Mismatch::OtherKey { name }))
        );
        let revoked = known.clone().revoked();
        assert_eq!(
            compare_code(&uri, &[&revoked]),
            Err(Box::new(Mismatch::Revoked(known.name)))
        );
    }

    #[test]
    fn a_phrase_finds_its_resolver() {
        let met = [identity(1), identity(2)];
        let phrase = phrase_of(&met[1]).unwrap();
        assert_eq!(find_by_phrase(phrase, None, &met), Ok(met[1].name.clone()));
        let named = Some(&met[1].name);
        assert_eq!(find_by_phrase(phrase, named, &met), Ok(met[1].name.clone()));
        assert_eq!(
            find_by_phrase(phrase, Some(&met[0].name), &met),
            Err(Box::new(Mismatch::Other {
                named: met[0].name.clone(),
                actual: met[1].name.clone()
            }))
        );
        let revoked = met.clone().map(KnownIdentity::revoked);
        assert_eq!(
            find_by_phrase(phrase, None, &revoked),
            Err(Box::new(Mismatch::Revoked(met[1].name.clone())))
        );
    }

    #[test]
    fn a_phrase_with_a_wrong_word_is_told_from_that_of_another() {
        let met = [identity(1), identity(2)];
        let mut words = phrase_of(&met[0]).unwrap().words().map(str::to_owned);
        let other = |word: &str| if word == "zoo" { "able" } else { "zoo" }.to_owned();
        words[2] = other(&words[2]);
        let typed = |words: &[String]| words.join(" ").parse::<Phrase>().unwrap();
        let error = find_by_phrase(typed(&words), None, &met).unwrap_err();
        assert_eq!(
            error.to_string(),
            "word 3 is another one in the phrase of the resolver that was met: compare it again"
        );
        words[7] = other(&words[7]);
        let error = find_by_phrase(typed(&words), None, &met).unwrap_err();
        assert_eq!(
            error.to_string(),
            "words 3 and 8 are others in the phrase of the resolver that was met: compare them again"
        );
        words[5] = other(&words[5]);
        let error = find_by_phrase(typed(&words), None, &met).unwrap_err();
        assert_eq!(*error, Mismatch::Nobody);
    }

    #[test]
    fn a_phrase_of_nobody_is_told_so() {
        let phrase = phrase_of(&identity(3)).unwrap();
        let met = [identity(1)];
        assert_eq!(
            find_by_phrase(phrase, None, &met),
            Err(Box::new(Mismatch::Nobody))
        );
        assert_eq!(
            find_by_phrase(phrase, None, &[]),
            Err(Box::new(Mismatch::NobodyMet))
        );
        let named = identity(3).name;
        assert_eq!(
            find_by_phrase(phrase, Some(&named), &met),
            Err(Box::new(Mismatch::NotMet(named)))
        );
        // What a store of the first form left: nobody knows yet which of its keys signs.
        let mut before = identity(3);
        before.anchor = AnchorSet::first_use(&[key(3)], None, UnixTime(1));
        assert_eq!(phrase_of(&before), None);
        assert_eq!(
            find_by_phrase(phrase, None, &[before]),
            Err(Box::new(Mismatch::NobodyMet))
        );
    }
}
