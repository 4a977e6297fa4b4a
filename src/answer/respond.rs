//! The responder: from a query to its outcome.

use std::{sync::Arc, time::SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, RecordType},
    serialize::binary::{BinDecodable, BinDecoder},
};
use zzdot_client::{
    cache::{Cache, Found, Image, Key, ViewId},
    wire::{self, Flags, QuestionView, View},
};

use super::{
    Asker, Dropped, LocalZones, Outcome, Pending, Refresh, Transport,
    access::AccessList,
    cookie::{Judged, Secret, Secrets},
    kept::Kept,
    local,
    onward::Onward,
    passage::{self, Errand, Passages, Wish},
    refusal::{self, Refusal, ede, rcode},
    special::SpecialNames,
    terms::{NoRoom, Sealed, Terms, option},
    views::{Current, Views},
};
use crate::{
    counters::{Counters, Event},
    resolve::Source,
};

/// What is known here.
enum Here {
    /// The answer, and where it belongs in the cache, if it does.
    Answer(Image, Option<ViewId>),
    /// Whom to ask.
    PassOn(Box<Errand>),
}

/// Decides what becomes of queries. Everything in it can be replaced while it is at work.
pub struct Responder {
    access: ArcSwap<AccessList>,
    zones: ArcSwap<LocalZones>,
    /// Under these names there are zones of ours, or will be.
    reserved: ArcSwap<Vec<Name>>,
    /// Of this name our zones say what is not so any more.
    withheld: ArcSwapOption<Name>,
    special: ArcSwap<SpecialNames>,
    secrets: ArcSwap<Secrets>,
    source: ArcSwap<Arc<dyn Source>>,
    passages: Passages,
    pub(super) cache: ArcSwapOption<Cache>,
    pub(super) views: Views,
    pub(super) counters: Arc<Counters>,
}

impl Responder {
    /// With the default access list, no zones of its own and no cache. `secret` is random and makes the
    /// cookies.
    pub fn new(source: Arc<dyn Source>, secret: Secret, counters: Arc<Counters>) -> Self {
        Self {
            access: ArcSwap::default(),
            zones: ArcSwap::default(),
            reserved: ArcSwap::default(),
            withheld: ArcSwapOption::empty(),
            special: ArcSwap::from_pointee(SpecialNames::new(&[])),
            secrets: ArcSwap::from_pointee(Secrets::new(secret)),
            source: ArcSwap::from_pointee(source),
            passages: Passages::new(),
            cache: ArcSwapOption::empty(),
            views: Views::default(),
            counters,
        }
    }

    /// Lets these in from now on, and nobody else.
    pub fn replace_access(&self, access: AccessList) {
        self.access.store(Arc::new(access));
    }

    /// Keeps answers in this cache from now on; none: asks each time.
    pub fn replace_cache(&self, cache: Option<Cache>) {
        self.cache.store(cache.map(Arc::new));
    }

    /// Where answers are kept.
    pub fn cache(&self) -> Option<Arc<Cache>> {
        self.cache.load_full()
    }

    /// Serves these zones from now on.
    pub fn replace_zones(&self, zones: LocalZones) {
        let before = self.zones.swap(Arc::new(zones));
        self.views.own_changed();
        // What an upstream said of a name that is now ours is forgotten.
        if !before.same_origins(&self.zones.load()) {
            self.views.upstream_changed();
        }
    }

    /// Names under these are answered out of our own zones or not at all: while the zones are not
    /// there, which a clock behind its floor can cause, an upstream's word that there is no such
    /// name would make us legacy for everybody who hears it.
    pub fn reserve(&self, names: Vec<Name>) {
        self.reserved.store(Arc::new(names));
        self.everything_changed();
    }

    /// Says nothing about `name` from now on, though there is something in our zones: it is not so any more, and what is
    /// so could not be signed. None: everything is as it is said.
    pub fn withhold(&self, name: Option<Name>) {
        if self.withheld.load().as_deref() != name.as_ref() {
            self.withheld.store(name.map(Arc::new));
            self.views.own_changed();
        }
    }

    /// Beside `.zz` and the special names of the RFCs, names under these suffixes never leave the
    /// machine: for resolvers whose own name is somewhere else than under `.zz`.
    pub fn replace_private_suffixes(&self, suffixes: &[Name]) {
        self.special.store(Arc::new(SpecialNames::new(suffixes)));
        self.everything_changed();
    }

    /// Asks the source also for the names by which resolvers are discovered, from now on: for a server
    /// that publishes nothing itself, and through which one behind it is found.
    pub fn leave_discovery_to_source(&self) {
        self.special
            .store(Arc::new(SpecialNames::without_discovery()));
        self.everything_changed();
    }

    /// Asks this source from now on; questions under way stay with the old one, and its answers are
    /// forgotten.
    pub fn replace_source(&self, source: Arc<dyn Source>) {
        self.source.store(Arc::new(source));
        self.views.upstream_changed();
        if let Some(cache) = &*self.cache.load() {
            cache.clear();
        }
    }

    fn everything_changed(&self) {
        self.views.own_changed();
        self.views.upstream_changed();
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
        let (cookie, terms) = match self.read_terms(asker, &view) {
            Ok(terms) => terms,
            Err(refusal) => return self.refuse_unread(query, &refusal, out),
        };
        let question = query
            .get(wire::HEADER_BYTES..view.records_start())
            .unwrap_or_default();
        let decided = match judge(asker, &view, cookie.as_ref()) {
            Ok(Some(asked)) => self.decide(asker, &asked, question, &terms, out),
            // A cookie alone is a question for a cookie (RFC 7873 §5.4).
            Ok(None) => {
                self.count_sealed(terms.bare(question, 0, None, out));
                Ok(Outcome::Replied(None))
            }
            Err(refusal) => Err(refusal),
        };
        decided.unwrap_or_else(|refusal| {
            self.counters.count(refusal.event);
            let sealed = terms.bare(question, refusal.rcode, refusal.ede, out);
            self.count_sealed(sealed);
            Outcome::Replied(None)
        })
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
        let terms = Terms::read(view, edns.as_ref(), cookie.as_ref(), asker);
        Ok((cookie, terms))
    }

    /// What becomes of a question that may be asked here: out of the cache, out of what is known
    /// here, or from the source.
    fn decide(
        &self,
        asker: &Asker,
        asked: &QuestionView<'_>,
        question: &[u8],
        terms: &Terms,
        out: &mut Vec<u8>,
    ) -> Result<Outcome, Refusal> {
        // Before anything is looked up: an answer belongs to the views of before it was made.
        let views = self.views.current();
        let cache = self.cache.load();
        let place = cache
            .as_ref()
            .and_then(|cache| Some((&**cache, Key::new(question, terms.key_bits())?)));
        let mut has_stale = false;
        if let Some((cache, key)) = &place {
            let mut copy = |found: &Found<'_>| self.copy(found, question, terms, views, out);
            match cache.find(key, &views.all(), asker.instant, |found| copy(&found)) {
                Some(Kept::Answered { refresh: false }) => return Ok(Outcome::Replied(None)),
                Some(Kept::Answered { refresh: true }) => {
                    let onward = Onward::new(question, terms, asker, views.upstream);
                    return Ok(Outcome::Replied(Some(Box::new(Refresh { onward }))));
                }
                Some(Kept::Stale) => has_stale = true,
                Some(Kept::Unfit) | None => {}
            }
        }
        let mut errand = None;
        match self.answer_here(asker, asked, question, terms, views)? {
            Some(Here::Answer(image, view)) => {
                self.seal(terms, question, &image, out);
                if let (Some((cache, key)), Some(view)) = (&place, view) {
                    cache.store(key, view, image, asker.instant);
                }
                return Ok(Outcome::Replied(None));
            }
            Some(Here::PassOn(one)) => errand = Some(one),
            None => {}
        }
        if !terms.recursion_desired() {
            return Err(refusal::NOT_RECURSIVE);
        }
        if errand.is_some() {
            self.counters.count(Event::Passed);
        } else {
            self.counters.count(Event::Asked);
            if place.is_some() {
                self.counters.count(Event::CacheMiss);
            }
        }
        Ok(Outcome::Ask(Box::new(Pending {
            onward: Onward::new(question, terms, asker, views.upstream),
            terms: *terms,
            has_stale,
            errand,
        })))
    }

    /// What is known here of a question about our own zones or a special name.
    fn answer_here(
        &self,
        asker: &Asker,
        asked: &QuestionView<'_>,
        question: &[u8],
        terms: &Terms,
        views: Current,
    ) -> Result<Option<Here>, Refusal> {
        // In lower case as everything in the cache: the asker's letters come back at the end.
        let folded = asked.wire_name.to_ascii_lowercase();
        let Ok(name) = Name::read(&mut BinDecoder::new(&folded)) else {
            return Ok(None);
        };
        let qtype = RecordType::from(asked.qtype);
        if self.withheld.load().as_deref() == Some(&name) {
            return Err(refusal::NOT_SO);
        }
        let zones = self.zones.load();
        let (event, view, mut local) = match zones.lookup(&name, qtype, terms.dnssec_ok()) {
            Some(local) => (Event::AnsweredFromZone, views.zones, local),
            None if self.reserved.load().iter().any(|own| own.zone_of(&name)) => {
                return Err(refusal::NOT_READY);
            }
            None => match self.special.load().lookup(&name, qtype) {
                Some(local) => (Event::AnsweredSpecial, views.special, local),
                None => return Ok(None),
            },
        };
        let redirected = local.redirected.take();
        let message = encode(name, qtype, local);
        if let (Some((origin, redirection)), true) = (&redirected, terms.recursion_desired()) {
            let wish = Wish {
                origin,
                redirection,
                qtype,
                dnssec_ok: terms.dnssec_ok(),
            };
            return self.pass_on(asker, &wish, message).map(Some);
        }
        self.counters.count(event);
        let image = message
            .and_then(|message| Image::authoritative(message).ok())
            .unwrap_or_else(|| Image::failure(question, rcode::SERVFAIL, None, false));
        // Who desires recursion gets more than where it leads to.
        let view = redirected.is_none().then_some(view);
        Ok(Some(Here::Answer(image, view)))
    }

    /// What to ask of an upstream, where a name leads through it. `alias` is our own part of the response.
    fn pass_on(
        &self,
        asker: &Asker,
        wish: &Wish<'_>,
        alias: Option<Vec<u8>>,
    ) -> Result<Here, Refusal> {
        let alias = alias.filter(|_| self.source.load().passage().is_some());
        let alias = alias.ok_or(passage::NO_UPSTREAM)?;
        let errand = self.passages.admit(asker, wish, alias)?;
        Ok(Here::PassOn(Box::new(errand)))
    }

    /// Appends what `image` holds, or SERVFAIL where it takes no OPT record.
    pub(super) fn seal(&self, terms: &Terms, question: &[u8], image: &Image, out: &mut Vec<u8>) {
        let sealed = terms.seal(question, &image.answer(), None, out);
        let sealed = sealed.unwrap_or_else(|NoRoom| {
            self.counters.count(Event::SourceMismatch);
            let ede = Some((ede::INVALID_DATA, "what came back leaves no room for EDNS"));
            terms.bare(question, rcode::SERVFAIL, ede, out)
        });
        self.count_sealed(sealed);
    }

    pub(super) fn count_sealed(&self, sealed: Sealed) {
        if sealed == Sealed::Truncated {
            self.counters.count(Event::Truncated);
        }
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
}

/// The question, if it may be asked here; none where there is a cookie in its place.
fn judge<'a>(
    asker: &Asker,
    view: &View<'a>,
    cookie: Option<&Judged>,
) -> Result<Option<QuestionView<'a>>, Refusal> {
    refusal::judge_sections(view)?;
    let Some(question) = view.question() else {
        return cookie.map(|_| None).ok_or(refusal::MALFORMED);
    };
    // Only those who speak cookies can be asked for one; they try again with it at once.
    if asker.pressed
        && asker.transport == Transport::Udp
        && cookie.is_some_and(|cookie| !cookie.valid)
    {
        return Err(refusal::COOKIE_REQUIRED);
    }
    refusal::judge_question(&question)?;
    Ok(Some(question))
}

/// An authoritative response with these records.
fn encode(name: Name, qtype: RecordType, found: local::Found) -> Option<Vec<u8>> {
    let mut message = Message::new(0, MessageType::Response, OpCode::Query);
    message.metadata.authoritative = true;
    message.metadata.response_code = found.rcode;
    message.add_query(Query::query(name, qtype));
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
