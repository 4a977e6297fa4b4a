//! What was asked and tried, how it came out, and what is still to be done.

use std::collections::VecDeque;
use std::mem;
use std::net::SocketAddr;

use hickory_proto::rr::{Name, RecordType};

use super::action::{Action, Ask, AskId, Connect, ConnectId, Step, TlsFailure};
use super::tlsa::PeerCertificates;
use crate::validate::bogus::shown;
use crate::validate::{Reply, ReplyError};
use crate::wire::View;

pub(super) struct Ledger {
    server: SocketAddr,
    asks: Vec<Question>,
    attempts: Vec<Attempt>,
    actions: VecDeque<Action>,
}

struct Question {
    name: Name,
    qtype: RecordType,
    outcome: Outcome,
}

enum Outcome {
    Waiting,
    Silent,
    Reply(Reply),
    Taken,
}

struct Attempt {
    address: SocketAddr,
    outcome: Option<Result<PeerCertificates, TlsFailure>>,
}

/// What [`Ledger::take`] finds.
pub(super) enum Taken {
    Waiting,
    Silent,
    Reply(Reply),
}

impl Ledger {
    pub(super) fn new(server: SocketAddr) -> Self {
        Self {
            server,
            asks: Vec::new(),
            attempts: Vec::new(),
            actions: VecDeque::new(),
        }
    }

    pub(super) fn ask(&mut self, name: Name, qtype: RecordType) -> AskId {
        // A walk asks a dozen questions at the most.
        let id = AskId(self.asks.len() as u16);
        self.tell(Step::Asked {
            name: shown(&name),
            rtype: qtype.to_string(),
            server: self.server,
        });
        self.actions.push_back(Action::Ask(Ask {
            id,
            server: self.server,
            name: name.clone(),
            qtype,
        }));
        self.asks.push(Question {
            name,
            qtype,
            outcome: Outcome::Waiting,
        });
        id
    }

    pub(super) fn connect(&mut self, address: SocketAddr, server_name: String) -> ConnectId {
        let attempt = ConnectId(self.attempts.len() as u16);
        self.tell(Step::Connecting { endpoint: address });
        self.actions.push_back(Action::Connect(Connect {
            attempt,
            address,
            server_name: Some(server_name),
        }));
        self.attempts.push(Attempt {
            address,
            outcome: None,
        });
        attempt
    }

    pub(super) fn tell(&mut self, step: Step) {
        self.actions.push_back(Action::Event(step));
    }

    pub(super) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Drops what was to be done but is no more, now that the walk ends; what was to be told stays.
    pub(super) fn drop_requests(&mut self) {
        self.actions
            .retain(|action| matches!(action, Action::Event(_)));
    }

    /// Files an answer. Ok(true) when it changes anything.
    pub(super) fn on_message(&mut self, id: AskId, message: &[u8]) -> Result<bool, Unreadable> {
        let Some(question) = self.asks.get_mut(usize::from(id.0)) else {
            self.ignore("it answers a question that was not asked");
            return Ok(false);
        };
        if !matches!(question.outcome, Outcome::Waiting) {
            self.ignore("it answers a question that was answered before");
            return Ok(false);
        }
        match View::parse(message) {
            Ok(view) if !is_answer(&view, question) => {
                self.ignore("it answers another question");
                return Ok(false);
            }
            // Over TCP nothing is truncated: this is half an answer, which is none.
            Ok(view) if view.truncated() => {
                self.on_no_answer(id);
                return Ok(true);
            }
            _ => {}
        }
        match Reply::read(message) {
            Ok(reply) => {
                question.outcome = Outcome::Reply(reply);
                Ok(true)
            }
            Err(error) => Err(Unreadable {
                asked: format!("{} {}", shown(&question.name), question.qtype),
                error,
            }),
        }
    }

    /// Files that no answer came. True when it changes anything.
    pub(super) fn on_no_answer(&mut self, id: AskId) -> bool {
        let Some(question) = self.asks.get_mut(usize::from(id.0)) else {
            return false;
        };
        if !matches!(question.outcome, Outcome::Waiting) {
            return false;
        }
        question.outcome = Outcome::Silent;
        let (name, rtype) = self.asked(id);
        self.tell(Step::NotAnswered { name, rtype });
        true
    }

    /// Files how an attempt at TLS came out. True when it changes anything.
    pub(super) fn on_tls(
        &mut self,
        id: ConnectId,
        outcome: Result<PeerCertificates, TlsFailure>,
    ) -> bool {
        let Some(attempt) = self.attempts.get_mut(usize::from(id.0)) else {
            return false;
        };
        if attempt.outcome.is_some() {
            return false;
        }
        let endpoint = attempt.address;
        if let Err(failure) = &outcome {
            let failure = failure.clone();
            attempt.outcome = Some(outcome);
            self.tell(Step::NotConnected { endpoint, failure });
        } else {
            attempt.outcome = Some(outcome);
        }
        true
    }

    /// Looks at an answer without taking it: the reply, once there is one.
    pub(super) fn peek(&self, id: AskId) -> Option<&Reply> {
        match &self.asks.get(usize::from(id.0))?.outcome {
            Outcome::Reply(reply) => Some(reply),
            _ => None,
        }
    }

    pub(super) fn is_waiting(&self, id: AskId) -> bool {
        let question = self.asks.get(usize::from(id.0));
        question.is_some_and(|question| matches!(question.outcome, Outcome::Waiting))
    }

    /// Takes an answer, to be judged once.
    pub(super) fn take(&mut self, id: AskId) -> Taken {
        let Some(question) = self.asks.get_mut(usize::from(id.0)) else {
            return Taken::Silent;
        };
        match mem::replace(&mut question.outcome, Outcome::Taken) {
            Outcome::Waiting => {
                question.outcome = Outcome::Waiting;
                Taken::Waiting
            }
            Outcome::Reply(reply) => Taken::Reply(reply),
            Outcome::Silent | Outcome::Taken => Taken::Silent,
        }
    }

    pub(super) fn question(&self, id: AskId) -> (Name, RecordType) {
        match self.asks.get(usize::from(id.0)) {
            Some(question) => (question.name.clone(), question.qtype),
            None => (Name::root(), RecordType::NULL),
        }
    }

    /// Owner and type of a question, as shown to people.
    pub(super) fn asked(&self, id: AskId) -> (String, String) {
        let (name, qtype) = self.question(id);
        (shown(&name), qtype.to_string())
    }

    pub(super) fn address(&self, id: ConnectId) -> Option<SocketAddr> {
        Some(self.attempts.get(usize::from(id.0))?.address)
    }

    pub(super) fn attempt(&self, id: ConnectId) -> Option<&Result<PeerCertificates, TlsFailure>> {
        self.attempts.get(usize::from(id.0))?.outcome.as_ref()
    }

    pub(super) fn ignore(&mut self, why: &str) {
        let why = why.to_owned();
        self.tell(Step::Ignored { why });
    }
}

/// An answer to one of our questions cannot be read.
pub(super) struct Unreadable {
    pub(super) asked: String,
    pub(super) error: ReplyError,
}

fn is_answer(view: &View<'_>, question: &Question) -> bool {
    view.is_response()
        && view.question().is_some_and(|echoed| {
            echoed.qtype == u16::from(question.qtype)
                && echoed.qclass == 1
                && echoed.name.to_name() == question.name
        })
}
