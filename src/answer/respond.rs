//! The responder: from a query to its outcome.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use arc_swap::ArcSwap;
use hickory_proto::{
    op::{Message, MessageType, OpCode},
    rr::{Name, RecordType},
    serialize::binary::{BinDecodable, BinDecoder},
};
use zzdot_client::wire::{self, Flags, QuestionView, View};

use super::{
    Asker, Dropped, LocalZones, Outcome, Pending, Refresh, Transport,
    access::AccessList,
    cookie::{Judged, Secret, Secrets},
    local::Found,
    refusal::{self, Refusal, ede, rcode},
    special::SpecialNames,
    terms::{Sealed, Terms, option},
};
use crate::{
    counters::{Counters, Event},
    resolve::{ResolveError, Source},
};

/// Decides what becomes of queries. Everything in it can be replaced while it is at work.
pub struct Responder {
    access: ArcSwap<AccessList>,
    zones: ArcSwap<LocalZones>,
    /// Under these names there are zones of ours, or will be.
    reserved: ArcSwap<Vec<Name>>,
    special: ArcSwap<SpecialNames>,
    secrets: ArcSwap<Secrets>,
    source: ArcSwap<Arc<dyn Source>>,
    counters: Arc<Counters>,
}

impl Responder {
    /// With the default access list and no zones of its own. `secret` is random and makes the
    /// cookies.
    pub fn new(source: Arc<dyn Source>, secret: Secret, counters: Arc<Counters>) -> Self {
        Self {
            access: ArcSwap::default(),
            zones: ArcSwap::default(),
            reserved: ArcSwap::default(),
            special: ArcSwap::from_pointee(SpecialNames::new(&[])),
            secrets: ArcSwap::from_pointee(Secrets::new(secret)),
            source: ArcSwap::from_pointee(source),
            counters,
        }
    }

    /// Lets these in from now on, and nobody else.
    pub fn replace_access(&self, access: AccessList) {
        self.access.store(Arc::new(access));
    }

    /// Serves these zones from now on.
    pub fn replace_zones(&self, zones: LocalZones) {
        self.zones.store(Arc::new(zones));
    }

    /// Names under these are answered out of our own zones or not at all: while the zones are not
    /// there, which a clock behind its floor can cause, an upstream's word that there is no such
    /// name would make us legacy for everybody who hears it.
    pub fn reserve(&self, names: Vec<Name>) {
        self.reserved.store(Arc::new(names));
    }

    /// Beside `.zz` and the special names of the RFCs, names under these suffixes never leave the
    /// machine: for resolvers whose own name is somewhere else than under `.zz`.
    pub fn replace_private_suffixes(&self, suffixes: &[Name]) {
        self.special.store(Arc::new(SpecialNames::new(suffixes)));
    }

    /// Asks this source from now on; questions under way stay with the old one.
    pub fn replace_source(&self, source: Arc<dyn Source>) {
        self.source.store(Arc::new(source));
    }

    /// Makes cookies with `next` from now on; those of the secret before stay good.
    pub fn roll_secret(&self, next: Secret) {
        self.secrets.rcu(|secrets| secrets.rolled(next));
    }

    /// The source of answers.
    pub fn source(&self) -> Arc<dyn Source> {
        Arc::clone(&self.source.load())
    }

    /// Who may ask.
    pub fn access(&self) -> Arc<AccessList> {
        self.access.load_full()
    }

    /// What was counted.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// What becomes of `query`, which may be any bytes. A response that can be given now is
    /// appended to `out`.
    pub fn answer(&self, asker: &Asker, query: &[u8], out: &mut Vec<u8>) -> Outcome {
        match self.screen(asker, query) {
            Ok(()) => self.respond(asker, query, out),
            Err(dropped) => {
                self.counters.count(dropped.event());
                Outcome::Drop(dropped)
            }
        }
    }

    /// What becomes of a query that is longer than this server reads, given its first bytes.
    pub fn answer_overlong(&self, asker: &Asker, head: &[u8], out: &mut Vec<u8>) -> Outcome {
        match self.screen(asker, head) {
            Ok(()) => self.refuse_unread(head, &refusal::MALFORMED, out),
            Err(dropped) => {
                self.counters.count(dropped.event());
                Outcome::Drop(dropped)
            }
        }
    }

    /// The response to a query that was [`Outcome::Ask`].
    pub fn finish(
        &self,
        pending: Pending,
        response: Result<Vec<u8>, ResolveError>,
        _now: Instant,
    ) -> Vec<u8> {
        let terms = &pending.terms;
        let sealed = match response {
            Ok(response) => fit(terms, response).unwrap_or_else(|| {
                self.counters.count(Event::SourceMismatch);
                let text = "what came back is no answer to the question";
                terms.bare(rcode::SERVFAIL, Some((ede::INVALID_DATA, text)))
            }),
            Err(error) => {
                self.counters.count(Event::SourceFailed);
                let (code, text) = error.ede();
                terms.bare(error.rcode(), Some((code, &text)))
            }
        };
        self.open(sealed)
    }

    /// An answer whose time has passed, for those who have waited long enough for a fresh one
    /// (RFC 8767 §5); none where there is none.
    pub fn stale(&self, _pending: &Pending, _now: Instant) -> Option<Vec<u8>> {
        None
    }

    /// Keeps what came for a refresh.
    pub fn refreshed(
        &self,
        _refresh: Refresh,
        _response: Result<Vec<u8>, ResolveError>,
        _now: Instant,
    ) {
    }

    /// Whether there is anything to answer.
    fn screen(&self, asker: &Asker, query: &[u8]) -> Result<(), Dropped> {
        if !self.access.load().allows(asker.address) {
            return Err(Dropped::Stranger);
        }
        if query.len() < wire::HEADER_BYTES {
            return Err(Dropped::TooShort);
        }
        // Two servers that answered each other's responses would never stop.
        if flags(query).has(Flags::RESPONSE) {
            return Err(Dropped::NotAQuery);
        }
        Ok(())
    }

    fn respond(&self, asker: &Asker, query: &[u8], out: &mut Vec<u8>) -> Outcome {
        if flags(query).0 & Flags::OPCODE != 0 {
            return self.refuse_unread(query, &refusal::OTHER_OPCODE, out);
        }
        let Ok(view) = View::parse(query) else {
            return self.refuse_unread(query, &refusal::MALFORMED, out);
        };
        let terms = match self.read_terms(asker, &view) {
            Ok(terms) => terms,
            Err(refusal) => return self.refuse_unread(query, &refusal, out),
        };
        match self.judge(asker, &view, &terms) {
            Ok(Judgement::Reply(reply)) => {
                out.extend_from_slice(&reply);
                Outcome::Replied(None)
            }
            Ok(Judgement::Ask(pending)) => Outcome::Ask(pending),
            Err(refusal) => {
                self.counters.count(refusal.event);
                out.extend_from_slice(&self.open(terms.1.bare(refusal.rcode, refusal.ede)));
                Outcome::Replied(None)
            }
        }
    }

    /// The cookie and the terms, once the whole message and its OPT record are sound.
    fn read_terms(
        &self,
        asker: &Asker,
        view: &View<'_>,
    ) -> Result<(Option<Judged>, Terms), Refusal> {
        view.check().map_err(|_| refusal::MALFORMED)?;
        // The records are whole, so only the OPT record can be at fault now.
        let edns = view.edns().map_err(|_| refusal::BAD_EDNS)?;
        if edns.is_some_and(|edns| edns.version != 0) {
            return Err(refusal::BAD_VERSION);
        }
        let cookie = edns
            .and_then(|edns| edns.option(option::COOKIE))
            .map(|cookie| {
                let secrets = self.secrets.load();
                secrets.judge(cookie, asker.address, wire_seconds(asker.time))
            })
            .transpose()
            .map_err(|_| refusal::BAD_COOKIE_LENGTH)?;
        match cookie {
            Some(cookie) if cookie.valid => self.counters.count(Event::CookieValid),
            Some(cookie) if cookie.brought => self.counters.count(Event::CookieStale),
            _ => {}
        }
        let terms = Terms::read(view, edns.as_ref(), cookie, asker);
        Ok((cookie, terms))
    }

    fn judge(
        &self,
        asker: &Asker,
        view: &View<'_>,
        (cookie, terms): &(Option<Judged>, Terms),
    ) -> Result<Judgement, Refusal> {
        refusal::judge_sections(view)?;
        let Some(question) = view.question() else {
            // A cookie alone is a question for a cookie (RFC 7873 §5.4).
            return match cookie {
                Some(_) => Ok(Judgement::Reply(self.open(terms.bare(0, None)))),
                None => Err(refusal::MALFORMED),
            };
        };
        // Only those who speak cookies can be asked for one; they try again with it at once.
        if asker.pressed
            && asker.transport == Transport::Udp
            && cookie.is_some_and(|cookie| !cookie.valid)
        {
            return Err(refusal::COOKIE_REQUIRED);
        }
        refusal::judge_question(&question)?;
        if let Some(reply) = self.answer_here(&question, terms)? {
            return Ok(Judgement::Reply(reply));
        }
        if !view.recursion_desired() {
            return Err(refusal::NOT_RECURSIVE);
        }
        self.counters.count(Event::Asked);
        Ok(Judgement::Ask(Box::new(Pending {
            query: terms.onward_query().into(),
            terms: terms.clone(),
            has_stale: false,
        })))
    }

    /// The answer to a question about our own zones or a special name.
    fn answer_here(
        &self,
        question: &QuestionView<'_>,
        terms: &Terms,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let Ok(name) = Name::read(&mut BinDecoder::new(question.wire_name)) else {
            return Ok(None);
        };
        let qtype = RecordType::from(question.qtype);
        let zones = self.zones.load();
        let (event, found) = match zones.lookup(&name, qtype, terms.dnssec_ok()) {
            Some(found) => (Event::AnsweredFromZone, found),
            None if self.reserved.load().iter().any(|own| own.zone_of(&name)) => {
                return Err(refusal::NOT_READY);
            }
            None => match self.special.load().lookup(&name, qtype) {
                Some(found) => (Event::AnsweredSpecial, found),
                None => return Ok(None),
            },
        };
        self.counters.count(event);
        let sealed = encode(terms.question(), found)
            .and_then(|message| terms.seal(message, 0, Vec::new()))
            .unwrap_or_else(|| terms.bare(rcode::SERVFAIL, None));
        Ok(Some(self.open(sealed)))
    }

    /// Refuses a query whose terms cannot be read.
    fn refuse_unread(&self, query: &[u8], refusal: &Refusal, out: &mut Vec<u8>) -> Outcome {
        self.counters.count(refusal.event);
        match wire::error_reply(query, refusal.rcode, refusal.ede) {
            Some(reply) => {
                out.extend_from_slice(&reply);
                Outcome::Replied(None)
            }
            None => Outcome::Drop(Dropped::TooShort),
        }
    }

    fn open(&self, sealed: Sealed) -> Vec<u8> {
        if sealed.truncated {
            self.counters.count(Event::Truncated);
        }
        sealed.message
    }
}

/// What becomes of a query that can be read.
enum Judgement {
    Reply(Vec<u8>),
    Ask(Box<Pending>),
}

/// Makes what the source gave into the response; none when it is no answer to the question.
fn fit(terms: &Terms, response: Vec<u8>) -> Option<Sealed> {
    let view = View::parse(&response).ok()?;
    view.check().ok()?;
    let question = view.question()?;
    let asked = terms.question();
    let (name, rest) = asked.split_at_checked(asked.len().checked_sub(4)?)?;
    let same = view.is_response()
        && view.opcode() == 0
        && question.wire_name.eq_ignore_ascii_case(name)
        && [question.qtype.to_be_bytes(), question.qclass.to_be_bytes()].concat() == rest;
    if !same {
        return None;
    }
    let edns = view.edns().ok()?;
    // Extended codes are between the source and whom it asked (BADVERS, BADCOOKIE).
    if edns.is_some_and(|edns| edns.extended_rcode != 0) {
        return None;
    }
    let errors = edns.map(|edns| {
        edns.options()
            .filter(|(code, _)| *code == option::EXTENDED_ERROR)
            .map(|(_, content)| content.to_vec())
            .collect()
    });
    terms.seal(response, 0, errors.unwrap_or_default())
}

/// An authoritative response with these records.
fn encode(question: &[u8], found: Found) -> Option<Vec<u8>> {
    let mut decoder = BinDecoder::new(question);
    let mut message = Message::new(0, MessageType::Response, OpCode::Query);
    message.metadata.authoritative = true;
    message.metadata.response_code = found.rcode;
    message.add_query(hickory_proto::op::Query::read(&mut decoder).ok()?);
    message.insert_answers(found.answers);
    message.insert_authorities(found.authorities);
    message.to_vec().ok()
}

/// The flags of a message that has a header.
fn flags(message: &[u8]) -> Flags {
    match message {
        [_, _, high, low, ..] => Flags(u16::from_be_bytes([*high, *low])),
        _ => Flags(0),
    }
}

/// Unix time in 32 bits, wrapping (RFC 9018 §4.3).
fn wire_seconds(time: SystemTime) -> u32 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    (since.unwrap_or_default().as_secs() & u64::from(u32::MAX)) as u32
}
