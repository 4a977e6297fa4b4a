//! Answers from the root downwards, validated.
//!
//! hickory's recursor does the walk. It minimises what it asks (RFC 9156: it looks for zone cuts
//! with NS questions, one label at a time, and stops at NXDOMAIN as RFC 8020 allows), filters by
//! bailiwick and validates. Two recursors share the work: one validates, one serves the askers
//! that check for themselves (CD=1, RFC 4035 §3.2.2), so that neither can spoil the other's cache.
//!
//! What it would ask without need is answered out of what came before (`errand`, `provider`,
//! `shape`). In a zone from which more than one name was asked, plain answers do not need
//! it at all (`known`, `learn`, `short`). `docs/hickory-findings.md` has the measurements.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use hickory_resolver::{
    proto::{
        op::{Edns, Message, Metadata, Query, ResponseCode},
        rr::{DNSClass, Name, RData, Record, RecordType},
    },
    recursor::{DnssecConfig, DnssecPolicy, Recursor, RecursorOptions},
};
use tokio::{sync::Semaphore, time::Instant};

use self::{
    errand::{Asked, Errand, with_known},
    known::KnownZones,
    learn::Short,
    provider::{Budget, Provider},
    verdict::{Answer, Verdict},
};
use super::{
    MAX_PACKETS_A_QUESTION, Resolution, ResolveError, Source,
    forward::sanitise,
    inflight::{InFlight, key_of},
};

mod errand;
mod insecure;
mod known;
mod learn;
mod order;
mod provider;
mod roots;
mod shape;
mod short;
mod verdict;
mod wildcard;

pub use roots::RootsError;

/// Queries being resolved at the same time.
const MAX_IN_FLIGHT: usize = 2_048;

/// Responses kept by each recursor. hickory counts entries, not octets; what is asked often is kept
/// as octets in front of it, so that here stays what is needed on the way to an answer.
const RESPONSES_KEPT: u64 = 4_096;

/// Zones, and name servers, whose addresses are kept.
const ZONES_KEPT: usize = 1_024;

/// Judgements of record sets that are kept.
const VALIDATIONS_KEPT: usize = 4_096;

/// The labels of an address below ip6.arpa are 34, and each may be a zone cut.
const MAX_ZONE_CUTS: u8 = 64;

/// Aliases followed when the recursor lost one.
const MAX_ALIASES: usize = 11;

/// Where to start, and what to trust.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecursiveOptions {
    /// Root hints in master-file form; the public ones when absent.
    pub root_hints: Option<PathBuf>,
    /// DNSKEY records of the root in master-file form; the public ones when absent.
    pub trust_anchor: Option<PathBuf>,
    /// Ask name servers at private, loopback and documentation addresses too.
    pub allow_private_nameservers: bool,
}

/// Why the recursor cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecursiveError {
    /// A file is not usable.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The recursor refused its options.
    #[error("the recursor cannot be set up: {0}")]
    Recursor(String),
}

/// A validating recursive resolver.
pub struct Recursive {
    work: Arc<Work>,
    in_flight: InFlight,
}

/// What the questions share.
struct Work {
    validating: Recursor<Provider>,
    unchecked: Recursor<Provider>,
    zones: KnownZones,
    permits: Semaphore,
    roots: usize,
    resolved: AtomicU64,
    bogus: AtomicU64,
    failed: AtomicU64,
}

impl Recursive {
    /// Reads the roots and sets up empty caches.
    pub fn new(options: &RecursiveOptions) -> Result<Self, RecursiveError> {
        let roots = roots::root_servers(options.root_hints.as_deref())?;
        let anchors = Arc::new(roots::trust_anchors(options.trust_anchor.as_deref())?);
        let build = |policy| {
            Recursor::new(
                &roots,
                policy,
                None,
                recursor_options(options),
                Provider::default(),
            )
            .map_err(|error| RecursiveError::Recursor(error.to_string()))
        };
        let mut dnssec = DnssecConfig::default();
        dnssec.trust_anchor = Some(anchors);
        dnssec.validation_cache_size = Some(VALIDATIONS_KEPT);
        let work = Work {
            validating: build(DnssecPolicy::ValidateWithStaticKey(dnssec))?,
            unchecked: build(DnssecPolicy::ValidationDisabled)?,
            zones: KnownZones::default(),
            permits: Semaphore::new(MAX_IN_FLIGHT),
            roots: roots.len(),
            resolved: AtomicU64::new(0),
            bogus: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        };
        Ok(Self {
            work: Arc::new(work),
            in_flight: InFlight::default(),
        })
    }
}

impl Work {
    async fn answer_and_count(
        &self,
        query: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, ResolveError> {
        let outcome = self.answer(query, deadline).await;
        let counter = match &outcome {
            Ok(_) => &self.resolved,
            Err(ResolveError::Bogus { .. }) => &self.bogus,
            Err(_) => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        outcome
    }

    async fn answer(&self, query: &[u8], deadline: Instant) -> Result<Vec<u8>, ResolveError> {
        let permit = self
            .permits
            .try_acquire()
            .map_err(|_| ResolveError::Overloaded)?;
        let budget = Budget::new(MAX_PACKETS_A_QUESTION);
        let known = match self.go_short(query, &budget, deadline).await {
            Short::Answered(response) => return Ok(response),
            Short::Told(asked, response) => Some((asked, response)),
            Short::NoWay => None,
        };
        let outcome = self.recurse(query, &budget, known, deadline).await;
        drop(permit);
        outcome
    }

    async fn recurse(
        &self,
        query: &[u8],
        budget: &Arc<Budget>,
        known: Option<(Asked, Vec<u8>)>,
        deadline: Instant,
    ) -> Result<Vec<u8>, ResolveError> {
        let request = Message::from_vec(query)
            .map_err(|_| ResolveError::Unsupported("the query cannot be decoded"))?;
        let Some(question) = request.queries.first().cloned() else {
            return Err(ResolveError::Unsupported("the query has no question"));
        };
        if question.query_class() != DNSClass::IN {
            return Err(ResolveError::Unsupported("only class IN is resolved"));
        }
        // RFC 1035 §4.3.1: who does not desire recursion does not get it.
        if !request.metadata.recursion_desired {
            let refused = Answer {
                rcode: ResponseCode::Refused,
                ..Answer::default()
            };
            return encode(&request, question, refused);
        }
        let work = self.follow(&question, !request.metadata.checking_disabled);
        let work = budget.charge(with_known(known, work));
        let outcome = match tokio::time::timeout_at(deadline, work).await {
            Err(_) => Err(ResolveError::TimedOut),
            Ok(Err(ResolveError::Recursion(_))) if budget.is_spent() => {
                Err(ResolveError::BudgetSpent)
            }
            Ok(outcome) => outcome,
        };
        encode(&request, question, outcome?)
    }

    /// Looks a name up; when the recursor lost an alias on the way to a negative answer, follows
    /// the aliases one at a time.
    async fn follow(&self, question: &Query, validating: bool) -> Result<Answer, ResolveError> {
        match self.look_up(question, validating).await {
            Verdict::Answered(answer) => return Ok(answer),
            Verdict::Failed(error) | Verdict::Unproved { failure: error, .. } => return Err(error),
            Verdict::LostAlias => {}
        }
        let mut aliases: Vec<Record> = Vec::new();
        let mut names: Vec<Name> = vec![question.name().clone()];
        let mut secure = true;
        loop {
            let current = names[names.len() - 1].clone();
            let alias = Query::query(current.clone(), RecordType::CNAME);
            let step = match self.look_up(&alias, validating).await {
                Verdict::Answered(answer) => answer,
                Verdict::Failed(error) => return Err(error),
                Verdict::Unproved { failure, .. } => return Err(failure),
                Verdict::LostAlias => {
                    return Err(ResolveError::Recursion("an alias of an alias".into()));
                }
            };
            let target = step.answers.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name == current => Some(target.0.clone()),
                _ => None,
            });
            let Some(target) = target else {
                let last = Query::query(current, question.query_type());
                let Verdict::Answered(mut end) = self.look_up(&last, validating).await else {
                    return Err(ResolveError::Recursion(
                        "the end of an alias is lost".into(),
                    ));
                };
                aliases.append(&mut end.answers);
                return Ok(Answer {
                    answers: aliases,
                    secure: secure && end.secure,
                    ..end
                });
            };
            secure &= step.secure;
            aliases.extend(step.answers);
            if names.contains(&target) || names.len() > MAX_ALIASES {
                return Err(ResolveError::Recursion("aliases without an end".into()));
            }
            names.push(target);
        }
    }

    /// Looks up, and gives what is below an insecure delegation the benefit of that.
    async fn look_up(&self, question: &Query, validating: bool) -> Verdict {
        match self.judge(question, validating).await {
            Verdict::Unproved {
                answer,
                names,
                failure,
            } => {
                if self.are_insecure(names).await {
                    Verdict::Answered(answer)
                } else {
                    Verdict::Failed(failure)
                }
            }
            verdict => verdict,
        }
    }

    /// What the recursor says.
    async fn judge(&self, question: &Query, validating: bool) -> Verdict {
        let recursor = if validating {
            &self.validating
        } else {
            &self.unchecked
        };
        // DNSSEC records are always asked for, since the verdict needs them.
        let errand = Errand::new(question);
        let outcome = errand
            .run(recursor.resolve(question.clone(), std::time::Instant::now(), true))
            .await;
        tracing::debug!(%question, ?outcome, "recursor");
        let verdict = verdict::judge(question, outcome, validating, wire_clock());
        if validating {
            self.learn_from(question, &errand, &verdict).await;
        }
        verdict
    }
}

impl Source for Recursive {
    fn resolve(&self, query: Arc<[u8]>, deadline: Instant) -> Resolution<'_> {
        Box::pin(async move {
            let work = self.work.clone();
            let asked = sanitise::outgoing(&query)
                .map_err(|_| ResolveError::Unsupported("the query cannot be decoded"))?;
            // Who asks the same at the same time gets the same answer.
            let key = key_of(&asked);
            let answer = self.in_flight.share(key, move || async move {
                work.answer_and_count(&asked, deadline).await
            });
            tokio::time::timeout_at(deadline, answer)
                .await
                .unwrap_or(Err(ResolveError::TimedOut))
        })
    }

    fn describe(&self) -> serde_json::Value {
        let work = &self.work;
        serde_json::json!({
            "mode": "recursive",
            "root-servers": work.roots,
            "in-flight": MAX_IN_FLIGHT - work.permits.available_permits(),
            "resolved": work.resolved.load(Ordering::Relaxed),
            "bogus": work.bogus.load(Ordering::Relaxed),
            "failed": work.failed.load(Ordering::Relaxed),
        })
    }
}

fn recursor_options(options: &RecursiveOptions) -> RecursorOptions {
    let defaults = RecursorOptions::default();
    RecursorOptions {
        response_cache_size: RESPONSES_KEPT,
        ns_cache_size: ZONES_KEPT,
        ns_recursion_limit: MAX_ZONE_CUTS,
        // Random letter case (0x20) stays off: names in the data of an answer are compressed
        // against the question, so the recursor would hand the scrambled case on and cache it.
        case_randomization: false,
        deny_server: if options.allow_private_nameservers {
            Vec::new()
        } else {
            defaults.deny_server.clone()
        },
        ..defaults
    }
}

/// The system's clock as RRSIG records count (RFC 4034 §3.1.5).
fn wire_clock() -> u32 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as u32)
}

/// Builds the response to `request` (RFC 4035 §3.2).
fn encode(request: &Message, question: Query, answer: Answer) -> Result<Vec<u8>, ResolveError> {
    let dnssec_ok = request
        .edns
        .as_ref()
        .is_some_and(|edns| edns.flags().dnssec_ok);
    let mut metadata = Metadata::response_from_request(&request.metadata);
    metadata.recursion_available = true;
    metadata.response_code = answer.rcode;
    // RFC 6840 §5.8: to those who understand the bit.
    metadata.authentic_data = answer.secure && (dnssec_ok || request.metadata.authentic_data);
    let mut response = Message::new(metadata.id, metadata.message_type, metadata.op_code);
    response.metadata = metadata;
    response.answers = order::along_aliases(question.name(), answer.answers);
    response.add_query(question);
    response.authorities = answer.authorities;
    if request.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(1_232).set_dnssec_ok(dnssec_ok);
        response.edns = Some(edns);
    }
    response
        .maybe_strip_dnssec_records(dnssec_ok)
        .to_vec()
        .map_err(|error| ResolveError::Recursion(error.to_string()))
}
