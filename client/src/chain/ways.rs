//! How a resolver is asked: itself, or through those before it.

use hickory_proto::rr::{Name, RecordType};
use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::owners::passage_name;
use zzdot_zonegen::upstream::UpstreamId;

use super::MAX_DEPTH;
use super::action::Via;
use super::flight::{Flight, Lack};
use super::survey::Survey;

/// How a site is asked.
pub(super) struct Way {
    pub(super) via: Via,
    /// Those that pass it on, the last first.
    steps: Vec<Step>,
    /// The last of them, by its place.
    pub(super) through: Option<usize>,
}

/// One passes questions on to another.
struct Step {
    near: usize,
    passes: ResolverName,
    to: UpstreamId,
    /// Whether `passes` names no other: then it need not be told whom to ask.
    only: bool,
}

impl Survey {
    /// How a site is asked by now; none where that takes more steps than are passed on.
    pub(super) fn way(&self, site: usize) -> Option<Way> {
        let mut way = Way {
            via: Via::Nearest,
            steps: Vec::new(),
            through: None,
        };
        let mut at = site;
        while at != 0 {
            let found = self.sites.get(at)?;
            if let Some(attempt) = found.direct.trusted {
                way.via = Via::Direct(attempt);
                return Some(way);
            }
            let near = found.voucher()?.near;
            way.through.get_or_insert(near);
            let passing = self.sites.get(near)?;
            let to = UpstreamId::Named(found.name.clone());
            let own = passing.own.as_ref();
            let only = own.is_some_and(|own| {
                !own.too_many && !own.odd && own.upstreams.as_slice() == [to.clone()]
            });
            way.steps.push(Step {
                near,
                passes: passing.name.clone(),
                to,
                only,
            });
            if way.steps.len() >= usize::from(MAX_DEPTH) {
                return None;
            }
            at = near;
        }
        Some(way)
    }

    /// Puts questions to a site. None where they are longer than names can be.
    pub(super) fn put(
        &mut self,
        site: usize,
        way: &Way,
        questions: Vec<(Name, RecordType)>,
    ) -> Option<Flight> {
        let exact = way.names(&questions, false);
        // What tells each whom to ask is understood whatever changes meanwhile. What does not is shorter.
        let (names, preferred) = match exact {
            Some(names) => (names, Vec::new()),
            None => {
                let only = way.steps.iter().filter(|step| step.only);
                (
                    way.names(&questions, true)?,
                    only.map(|it| it.near).collect(),
                )
            }
        };
        let serial = self.next_flight();
        let mut flight = Flight::new(serial, questions.clone());
        flight.preferred = preferred;
        for (place, (name, (_, qtype))) in names.into_iter().zip(questions).enumerate() {
            if !self.enqueue((site, serial, place), way.via, (name, qtype)) {
                flight.on_lack(place, Lack::Questions);
            }
        }
        if flight.is_back() {
            self.on_back(site, serial);
        }
        Some(flight)
    }
}

impl Way {
    /// The names to ask for; none where one is too long. If `short`, whoever names one upstream alone is not told that
    /// it is that one.
    fn names(&self, questions: &[(Name, RecordType)], short: bool) -> Option<Vec<Name>> {
        let passed = |name: &Name| {
            self.steps.iter().try_fold(name.clone(), |name, step| {
                let to = (!(short && step.only)).then_some(&step.to);
                passage_name(&name, &step.passes, to)
            })
        };
        questions.iter().map(|(name, _)| passed(name)).collect()
    }
}
