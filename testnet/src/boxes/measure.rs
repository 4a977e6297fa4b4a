//! What of a resolver's zones passes through a box, and in which state.

use std::{fmt, io::Error, net::SocketAddr, time::Duration};

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RecordType},
};

use super::Model;
use crate::ask::{Answer, Question, ask_once, ask_tcp};

/// How long a box may take. A silence is a finding, too.
const PATIENCE: Duration = Duration::from_secs(4);

/// What came of a question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Got {
    /// The records, and their signatures.
    Signed,
    /// The records alone.
    Bare,
    /// That there are none, with the signed proof.
    Proven,
    /// That there are none, without a proof.
    Empty,
    /// That there is no such name, without a proof.
    NoName,
    /// Another code.
    Code(ResponseCode),
    /// Nothing.
    Silence,
}

impl fmt::Display for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed => f.write_str("signed"),
            Self::Bare => f.write_str("bare"),
            Self::Proven => f.write_str("proven"),
            Self::Empty => f.write_str("empty"),
            Self::NoName => f.write_str("NXDOMAIN"),
            Self::Code(ResponseCode::ServFail) => f.write_str("SERVFAIL"),
            Self::Code(ResponseCode::FormErr) => f.write_str("FORMERR"),
            Self::Code(ResponseCode::Refused) => f.write_str("REFUSED"),
            Self::Code(code) => write!(f, "{}", u16::from(*code)),
            Self::Silence => f.write_str("silence"),
        }
    }
}

impl Got {
    /// The box has the records, signed or not.
    #[must_use]
    pub fn is_data(self) -> bool {
        matches!(self, Self::Signed | Self::Bare)
    }

    /// The box says that there are no such records, or no such name.
    #[must_use]
    pub fn is_denial(self) -> bool {
        matches!(self, Self::Proven | Self::Empty | Self::NoName)
    }

    /// Reads it off an answer.
    #[must_use]
    pub fn of(answer: &Answer, rtype: RecordType) -> Self {
        let has = |wanted: RecordType| {
            let mut records = answer.message.answers.iter();
            records.any(|record| record.record_type() == wanted)
        };
        let proof = answer
            .message
            .authorities
            .iter()
            .any(|record| matches!(record.record_type(), RecordType::NSEC | RecordType::NSEC3));
        match answer.rcode {
            ResponseCode::NoError if has(rtype) && !answer.signed.is_empty() => Self::Signed,
            ResponseCode::NoError if has(rtype) => Self::Bare,
            ResponseCode::NoError | ResponseCode::NXDomain if proof => Self::Proven,
            ResponseCode::NoError => Self::Empty,
            ResponseCode::NXDomain => Self::NoName,
            code => Self::Code(code),
        }
    }
}

/// How a question is put.
#[derive(Clone, Copy, Debug)]
pub struct Flags {
    /// With signatures, please.
    pub dnssec_ok: bool,
    /// Without validation, please.
    pub checking_disabled: bool,
}

/// As the client asks.
pub const WALK: Flags = Flags {
    dnssec_ok: true,
    checking_disabled: true,
};
/// As an application asks.
pub const APPLICATION: Flags = Flags {
    dnssec_ok: false,
    checking_disabled: false,
};

/// Asks over UDP, and over TCP where the answer is cut; from the network of this thread.
///
/// # Errors
/// Nothing came.
pub fn ask(
    server: SocketAddr,
    name: &Name,
    rtype: RecordType,
    flags: Flags,
) -> Result<Answer, Error> {
    let question = question(name, rtype, flags);
    let answer = ask_once(server, &question, PATIENCE)?;
    if !answer.message.metadata.truncation {
        return Ok(answer);
    }
    ask_tcp(server, &question).map_err(Error::other)
}

/// The same; a silence is no error.
#[must_use]
pub fn got(server: SocketAddr, name: &Name, rtype: RecordType, flags: Flags) -> Got {
    ask(server, name, rtype, flags).map_or(Got::Silence, |answer| Got::of(&answer, rtype))
}

fn question(name: &Name, rtype: RecordType, flags: Flags) -> Question {
    Question {
        name: name.clone(),
        rtype,
        dnssec_ok: flags.dnssec_ok,
        checking_disabled: flags.checking_disabled,
    }
}

/// The names that the questions are about.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The resolver's own name.
    pub name: Name,
    /// Its port of DNS over TLS.
    pub port: u16,
    /// Of a public zone: records that do not fit into a datagram.
    pub large: Name,
    /// Of a public zone: a name with a record of the type [`UNKNOWN`].
    pub strange: Name,
}

/// A type that nobody knows (RFC 3597), of the range for private use.
const UNKNOWN: RecordType = RecordType::Unknown(65_280);

impl Subject {
    fn below(&self, labels: &str) -> Name {
        let labels = Name::from_ascii(labels).expect("constants are names");
        labels
            .append_domain(&self.name)
            .expect("a resolver's name is short")
    }

    fn anchor(&self) -> Name {
        Name::from_ascii("resolver-name.arpa.").expect("a constant is a name")
    }

    fn key(&self) -> Name {
        self.name
            .clone()
            .append_domain(&self.anchor())
            .expect("a resolver's name is short")
    }

    /// Everything that walk and survey need, signed. Addresses are left out: they are a column of their own.
    fn published(&self) -> Vec<(Name, RecordType)> {
        let (anchor, name) = (self.anchor(), self.name.clone());
        vec![
            (anchor.clone(), RecordType::DNSKEY),
            (anchor.clone(), RecordType::NS),
            (anchor, RecordType::SOA),
            (self.key(), RecordType::KEY),
            (name.clone(), RecordType::DNSKEY),
            (name, RecordType::SOA),
            (self.below("server-type."), RecordType::TXT),
            (
                self.below(&format!("_{}._tcp.", self.port)),
                RecordType::TLSA,
            ),
            (self.below("_dns."), RecordType::SVCB),
            (self.below("upstreams."), RecordType::PTR),
            (self.below("q."), RecordType::DNAME),
        ]
    }
}

/// What was measured of one box, but for what the client makes of it.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// NS of `resolver-name.arpa` with neither flag, with DO, with CD, with both.
    pub flags: Vec<Got>,
    /// What did not come signed, of all that walk and survey need.
    pub spoilt: Vec<(RecordType, Got)>,
    /// A private address.
    pub private: Option<Got>,
    /// A type that the name does not have.
    pub no_type: Option<Got>,
    /// A name that does not exist.
    pub no_name: Option<Got>,
    /// A type that nobody knows.
    pub unknown: Option<Got>,
    /// An answer too large for a datagram: cut, and then whole over TCP.
    pub large: Option<Got>,
    /// It answers with what it was told before the resolver was upgraded.
    pub keeps_denials: Option<bool>,
    /// It denies a name that it never asked for, by what it was told of others.
    pub makes_denials: Option<bool>,
    /// It answers the walk out of its cache.
    pub keeps_copies: Option<bool>,
    /// What the client's walk ends with.
    pub verdict: String,
    /// The same, where somebody had asked the box for names near the resolver's, which do not exist.
    pub then: String,
    /// The same, with a name near `resolver-name.arpa`.
    pub beside: String,
}

impl Findings {
    /// Asks everything about an upgraded resolver behind the box.
    pub fn ask(&mut self, server: SocketAddr, subject: &Subject) {
        let anchor = subject.anchor();
        self.flags = [(false, false), (true, false), (false, true), (true, true)]
            .map(|(dnssec_ok, checking_disabled)| {
                let flags = Flags {
                    dnssec_ok,
                    checking_disabled,
                };
                got(server, &anchor, RecordType::NS, flags)
            })
            .to_vec();
        self.spoilt = subject
            .published()
            .into_iter()
            .map(|(name, rtype)| (rtype, got(server, &name, rtype, WALK)))
            .filter(|(_, got)| *got != Got::Signed)
            .collect();
        self.private = Some(got(server, &subject.name, RecordType::A, WALK));
        self.no_type = Some(got(server, &subject.name, RecordType::MX, WALK));
        let nothing = subject.below("nothing.");
        self.no_name = Some(got(server, &nothing, RecordType::A, WALK));
        self.unknown = Some(got(server, &subject.strange, UNKNOWN, WALK));
        self.large = Some(large(server, &subject.large));
    }

    /// The line of the table.
    #[must_use]
    pub fn line(&self, model: &Model) -> String {
        let [neither, dnssec_ok, checking_disabled, both] = self.flags.as_slice() else {
            return format!("| {} | was not asked |", model.name);
        };
        let spoilt: Vec<_> = self
            .spoilt
            .iter()
            .map(|(rtype, got)| format!("{rtype}: {got}"))
            .collect();
        let spoilt = if spoilt.is_empty() {
            "none".to_owned()
        } else {
            spoilt.join(", ")
        };
        let cell = |got: Option<Got>| got.map_or_else(String::new, |got| got.to_string());
        let yes = |found: Option<bool>| match found {
            None => "–",
            Some(true) => "yes",
            Some(false) => "no",
        };
        format!(
            "| `{}` | {neither} | {dnssec_ok} | {checking_disabled} | {both} | {spoilt} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            model.name,
            cell(self.private),
            cell(self.no_type),
            cell(self.no_name),
            cell(self.unknown),
            cell(self.large),
            yes(self.keeps_denials),
            yes(self.makes_denials),
            yes(self.keeps_copies),
            self.verdict,
            self.then,
        )
    }
}

/// Is an answer that fits into no datagram cut, and whole over TCP?
fn large(server: SocketAddr, name: &Name) -> Got {
    let question = question(name, RecordType::TXT, WALK);
    match ask_once(server, &question, PATIENCE) {
        Err(_) => Got::Silence,
        Ok(answer) if answer.message.metadata.truncation => ask_tcp(server, &question)
            .map_or(Got::Silence, |answer| Got::of(&answer, RecordType::TXT)),
        Ok(answer) => Got::of(&answer, RecordType::TXT),
    }
}
