//! Does the answer section answer the question? A guard against upstreams that lie.

use super::name::{MAX_NAME_BYTES, NameView};
use super::view::{Section, View};
use super::{WireError, rtype};

/// The most CNAME and DNAME links followed from the question.
pub const MAX_CHAIN_LINKS: usize = 16;

/// Why the answer section is not an answer to the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The message itself is broken.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// One of the two messages has no question.
    #[error("there is no question")]
    NoQuestion,
    /// The aliases never end, or lead back to where they came from.
    #[error("more than {MAX_CHAIN_LINKS} aliases in a row")]
    TooLong,
    /// A record whose owner the question does not lead to.
    #[error("a record that the question does not lead to")]
    OffChain,
    /// A record of a type that was not asked for.
    #[error("a record of another type than was asked for")]
    OtherType,
    /// A record of another class.
    #[error("a record of another class")]
    OtherClass,
}

/// Whether every record of the answer section of `response` stands on the chain of CNAME and DNAME
/// records that starts at the question of `query`, and is of the type asked for (or part of the
/// chain, or a signature).
///
/// # Errors
/// The first thing that is off.
pub fn answer_chain_ok(query: &View<'_>, response: &View<'_>) -> Result<(), ChainError> {
    let question = query.question().ok_or(ChainError::NoQuestion)?;
    if !response
        .question()
        .is_some_and(|echoed| echoed.eq_ignore_case(&question))
    {
        return Err(ChainError::NoQuestion);
    }
    let mut answers = Vec::new();
    for record in response.records() {
        let record = record?;
        if record.section == Section::Answer {
            answers.push((record.owner.to_folded_wire(), record));
        }
    }

    let mut allowed = vec![question.name.to_folded_wire()];
    let mut dname_owners: Vec<Vec<u8>> = Vec::new();
    let follows_aliases = question.qtype != rtype::CNAME && question.qtype != rtype::ANY;
    while let Some(here) = allowed.last().filter(|_| follows_aliases) {
        // A CNAME at this name, or else a DNAME above it from which one follows (RFC 6672 §3.1).
        let dname = answers.iter().find_map(|(owner, record)| {
            let prefix = (record.rtype == rtype::DNAME)
                .then(|| strictly_below(here, owner))
                .flatten()?;
            let target = record.name_in_data(0)?.to_folded_wire();
            Some((owner.clone(), [prefix, &target].concat()))
        });
        let cname = answers.iter().find_map(|(owner, record)| {
            (record.rtype == rtype::CNAME && owner == here)
                .then(|| record.name_in_data(0))
                .flatten()
                .map(|target: NameView<'_>| target.to_folded_wire())
        });
        let mut next = cname;
        if let Some((owner, synthesised)) = dname {
            dname_owners.push(owner);
            if synthesised.len() <= MAX_NAME_BYTES {
                next.get_or_insert(synthesised);
            }
        }
        match next {
            None => break,
            Some(target) if allowed.contains(&target) => return Err(ChainError::TooLong),
            Some(_) if allowed.len() > MAX_CHAIN_LINKS => return Err(ChainError::TooLong),
            Some(target) => allowed.push(target),
        }
    }

    for (owner, record) in &answers {
        if record.class != question.qclass && question.qclass != rtype::ANY {
            return Err(ChainError::OtherClass);
        }
        let covered = match record.rtype {
            rtype::RRSIG => super::view::u16_at(record.data(), 0).unwrap_or_default(),
            own => own,
        };
        if covered == rtype::DNAME && dname_owners.contains(owner) {
            continue;
        }
        if !allowed.contains(owner) {
            return Err(ChainError::OffChain);
        }
        let wanted = covered == question.qtype
            || record.rtype == question.qtype
            || question.qtype == rtype::ANY
            || covered == rtype::CNAME;
        if !wanted {
            return Err(ChainError::OtherType);
        }
    }
    Ok(())
}

/// The labels that `name` has in front of `ancestor`, when it is strictly below; both in folded
/// wire form.
fn strictly_below<'n>(name: &'n [u8], ancestor: &[u8]) -> Option<&'n [u8]> {
    let cut = name.len().checked_sub(ancestor.len()).filter(|&c| c > 0)?;
    // The cut must fall between two labels.
    let mut position = 0usize;
    while position < cut {
        position += 1 + usize::from(*name.get(position)?);
    }
    (position == cut && name.get(cut..)? == ancestor).then(|| name.split_at(cut).0)
}
