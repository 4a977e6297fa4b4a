//! The validator of NLnet Labs' `domain`, asked for a second opinion.

use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use domain::base::Message as DomainMessage;
use domain::dnssec::validator::anchor::TrustAnchors;
use domain::dnssec::validator::context::{ValidationContext, ValidationState};
use domain::net::client::request::{
    ComposeRequest, Error, GetResponse, RequestMessage, SendRequest,
};
use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};

use super::zone::TestZone;
use crate::trust::dnskey_texts;

/// Answers what the validator asks, which is for the zone's keys.
struct Upstream(Arc<Answerer>);

type Answerer = dyn Fn(&Name, RecordType) -> Message + Send + Sync;

struct Ready(Bytes);

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ready")
    }
}

impl SendRequest<RequestMessage<Vec<u8>>> for Upstream {
    fn send_request(&self, request: RequestMessage<Vec<u8>>) -> Box<dyn GetResponse + Send + Sync> {
        let query = Message::from_vec(&request.to_vec().unwrap()).unwrap();
        let question = &query.queries[0];
        let mut answer = (self.0)(question.name(), question.query_type());
        answer.metadata.id = query.metadata.id;
        Box::new(Ready(answer.to_vec().unwrap().into()))
    }
}

impl GetResponse for Ready {
    fn get_response(
        &mut self,
    ) -> Pin<Box<dyn Future<Output = Result<DomainMessage<Bytes>, Error>> + Send + Sync + '_>> {
        Box::pin(ready(Ok(
            DomainMessage::from_octets(self.0.clone()).unwrap()
        )))
    }
}

/// Whether `domain` finds the answer secure, with the zone's KSK as its only anchor.
pub(super) fn finds_secure(zone: &Arc<TestZone>, answer: &Message) -> bool {
    let upstream = Arc::clone(zone);
    anchored_finds_secure(
        &zone.origin,
        zone.ksk.dnskey(),
        Arc::new(move |name, rtype| upstream.answer(name, rtype)),
        answer,
    )
}

/// The same for any zone of which an anchor and the answers are known.
pub(super) fn anchored_finds_secure(
    origin: &Name,
    anchor: &DNSKEY,
    upstream: Arc<Answerer>,
    answer: &Message,
) -> bool {
    let text = dnskey_texts::text(anchor);
    let line = format!("{origin} 3600 IN {} {text}", RecordType::DNSKEY);
    let anchors = TrustAnchors::from_u8(line.as_bytes()).unwrap();
    let context = ValidationContext::new(anchors, Upstream(upstream));
    let bytes: Bytes = answer.to_vec().unwrap().into();
    let mut message = DomainMessage::from_octets(bytes).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let verdict = runtime.block_on(context.validate_msg::<_, Vec<u8>>(&mut message));
    matches!(verdict, Ok((ValidationState::Secure, _)))
}
