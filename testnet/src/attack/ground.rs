//! Where attacks take place.
//!
//! ```text
//! laptop1, stubby1, unbound1 ── lan1 ── attacker1 ──┐
//! laptop2                    ── lan2 ── attacker2 ──┼── wire ── resolver
//! …                                                 │
//! ```
//!
//! The resolver is `zzdot`, in front of a dnsmasq that knows one address for every name. An attacker forwards the packets
//! of its laptops, as a router, an access point or a provider does.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};

use hickory_proto::rr::{Name, RecordType};
use zzdot_zonegen::identity::Identity;

use super::{
    Attack, Outcome, Stage,
    together::all_at_once,
    victim::{Kind, Told as Answered, Victim},
};
use crate::{
    ask::{Question, ask_once},
    attacker::{
        Attacker, Manner,
        answers::{self, Recording},
    },
    host::Host,
    lab::Lab,
    process::Process,
    products::Appliance,
    servers,
    story::{Failure, Told},
};

/// The address of every name, as the genuine resolver says.
pub(super) const TRUTH: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// Names of the outside whose owner has them lead inside: to a router, and to the computer that asks.
pub(super) const INSIDE: [(&str, Ipv4Addr); 2] = [
    ("router.rebinding.example", Ipv4Addr::new(192, 168, 0, 1)),
    ("computer.rebinding.example", Ipv4Addr::LOCALHOST),
];
/// What the victims are told that their resolver is.
pub(super) const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Below it are the names that nobody may read.
const SECRET: &str = "secret.example.";
/// How long the product may take to find its resolver again.
const BACK_WITHIN: Duration = Duration::from_secs(15);
/// The victims are told to look again by nothing but the next question.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// The lab of a group: the resolver and what is behind it.
pub struct Ground {
    pub(super) lab: Lab,
    resolver: Host,
    running: BTreeMap<&'static str, Process>,
    branches: u8,
    /// Beyond the usual one.
    resolvers: u8,
}

impl Ground {
    /// Builds it below `folder`; the resolver answers.
    ///
    /// # Errors
    /// A program or the kernel refused.
    pub fn build(folder: &Path) -> Result<Self, Failure> {
        let mut lab = Lab::new(folder)?;
        lab.link("wire")?;
        let resolver = lab.host("resolver")?;
        lab.plug(&resolver, "wire", &[&format!("{RESOLVER}/16")])?;
        let mut ground = Self {
            lab,
            resolver,
            running: BTreeMap::new(),
            branches: 0,
            resolvers: 0,
        };
        let behind: SocketAddr = ([127, 0, 0, 1], 5353).into();
        let names = INSIDE.map(|(name, address)| format!("--address=/{name}/{address}"));
        let truth = format!("--address=/#/{TRUTH}");
        let mut says = vec!["--cache-size=0", &truth];
        says.extend(names.iter().map(String::as_str));
        let dnsmasq = servers::dnsmasq_alone(&ground.resolver, &[behind], &says)?;
        ground.running.insert("dnsmasq", dnsmasq);
        ground.start_resolver()?;
        Ok(ground)
    }

    /// Starts the resolver, or starts it again.
    pub(super) fn start_resolver(&mut self) -> Told {
        if let Some(process) = self.running.remove("zzdot") {
            process.end()?;
        }
        let process = start_appliance(&self.resolver, RESOLVER)?;
        self.running.insert("zzdot", process);
        Ok(())
    }

    /// A place for another resolver: its address, and how it is started.
    pub(super) fn another_resolver(&mut self) -> Result<(Ipv4Addr, StartResolver), Failure> {
        self.resolvers += 1;
        let [a, b, c, d] = RESOLVER.octets();
        let address = Ipv4Addr::new(a, b, c, d + self.resolvers);
        let with_prefix = format!("{address}/16");
        let output = self
            .resolver
            .output("ip", &["addr", "add", &with_prefix, "dev", "wire"])?;
        if !output.status.success() {
            return Err(Failure::new(String::from_utf8_lossy(&output.stderr)));
        }
        let host = self.resolver.clone();
        let start = move || start_appliance(&host, address);
        Ok((address, Box::new(start)))
    }

    /// A branch for an attack: laptops, attacker, capture. The victims are not started.
    ///
    /// # Errors
    /// A program or the kernel refused.
    pub fn branch(&mut self, attack: &Attack) -> Result<Branch, Failure> {
        self.branch_to(attack, RESOLVER)
    }

    /// The same with a resolver of its own, which an attack may change.
    ///
    /// # Errors
    /// A program or the kernel refused.
    pub(super) fn branch_alone(&mut self, attack: &Attack) -> Result<Branch, Failure> {
        let (address, start) = self.another_resolver()?;
        let process = start()?;
        let mut branch = self.branch_to(attack, address)?;
        branch.resolver_process = Some(process);
        branch.record()?;
        Ok(branch)
    }

    /// The same with another resolver than the usual one.
    ///
    /// # Errors
    /// A program or the kernel refused.
    pub(super) fn branch_to(
        &mut self,
        attack: &Attack,
        resolver: Ipv4Addr,
    ) -> Result<Branch, Failure> {
        self.branches += 1;
        let number = self.branches;
        let link = format!("lan{number}");
        let gateway = Ipv4Addr::new(192, 168, number, 1);
        let beyond = Ipv4Addr::new(10, 77, 1, number);
        self.lab.link(&link)?;
        let host = self.lab.host(&format!("attacker{number}"))?;
        self.lab.plug(&host, &link, &[&format!("{gateway}/24")])?;
        self.lab.plug(&host, "wire", &[&format!("{beyond}/16")])?;
        self.lab.forward_packets(&host)?;
        let household = format!("192.168.{number}.0/24");
        self.lab
            .route(&self.resolver, &household, &beyond.to_string())?;
        let peers = [Kind::Stubby, Kind::Unbound]
            .into_iter()
            .zip(attack.peers)
            .filter_map(|(kind, expected)| expected.map(|_| kind));
        let mut victims = Vec::new();
        for (kind, last) in [Kind::Product].into_iter().chain(peers).zip(10_u8..) {
            let laptop = self.lab.host(&format!("{}{number}", kind.label()))?;
            let address = Ipv4Addr::new(192, 168, number, last);
            self.lab.plug(&laptop, &link, &[&format!("{address}/24")])?;
            self.lab.route(&laptop, "default", &gateway.to_string())?;
            victims.push(Victim::new(kind, laptop, address.into()));
        }
        Ok(Branch {
            number,
            link,
            attacker: Attacker::start(&host, &format!("lan{number}"), resolver.into())?,
            resolver,
            resolver_host: self.resolver.clone(),
            resolver_config: self
                .resolver
                .folder()
                .join(format!("{}.toml", label(resolver))),
            resolver_process: None,
            gateway,
            victims,
            old_zones: answers::relay().recorded(),
            identity: Identity::load(
                &appliance(&self.resolver, &label(resolver), &[], &[])
                    .state_dir()
                    .join("identity"),
            )?,
            attack: *attack,
            questions: AtomicU32::new(0),
            asked: Vec::new(),
            leaked: None,
            marks: Vec::new(),
            back_after: None,
            answered: Vec::new(),
        })
    }

    /// What anybody on the branch's link could read: names of people's questions, by host; and how many questions of
    /// walks the product put in cleartext.
    ///
    /// # Errors
    /// The capture is no proof.
    pub fn read_along(
        &mut self,
        branch: &Branch,
    ) -> Result<BTreeMap<Kind, BTreeSet<Name>>, Failure> {
        let capture = self.lab.end_capture(&branch.link)?;
        let leak = std::slice::from_ref(branch.leak()?);
        let laptop = branch.victims[0].host.name();
        let seen = capture.names_spelled(leak, laptop, SystemTime::UNIX_EPOCH);
        if seen.is_empty() {
            return Err(Failure::new("the capture does not see what leaks"));
        }
        let spelled = branch.victims.iter().map(|victim| {
            let names =
                capture.names_spelled(&branch.asked, victim.host.name(), SystemTime::UNIX_EPOCH);
            (victim.kind, names)
        });
        (branch.attack.inspect)(branch, &capture)?;
        Ok(spelled.collect())
    }
}

/// Starts a resolver, and waits until it answers.
pub(super) type StartResolver = Box<dyn Fn() -> Result<Process, Failure> + Send>;

fn start_appliance(host: &Host, address: Ipv4Addr) -> Result<Process, Failure> {
    let [dns, dot] = [53, 853].map(|port| [SocketAddr::new(address.into(), port)]);
    Ok(appliance(host, &label(address), &dns, &dot).start()?)
}

fn appliance<'a>(
    host: &'a Host,
    label: &'a str,
    dns: &'a [SocketAddr],
    dot: &'a [SocketAddr],
) -> Appliance<'a> {
    Appliance {
        host,
        label,
        dns,
        dot,
        resolve: "mode = \"local\"\nserver-type = \"resolver\"\nupstreams = [\"127.0.0.1:5353\"]",
    }
}

/// Every resolver has an identity of its own.
fn label(address: Ipv4Addr) -> String {
    format!("zzdot-{address}")
}

/// One attack's part of the lab.
pub struct Branch {
    /// Which of the lab's it is.
    pub(super) number: u8,
    /// Its link.
    pub(super) link: String,
    /// The attacker's address there, which is the laptops' router.
    pub(super) gateway: Ipv4Addr,
    /// What its victims are told that their resolver is.
    pub(super) resolver: Ipv4Addr,
    pub(super) resolver_host: Host,
    pub(super) resolver_config: PathBuf,
    /// Where it is its own.
    resolver_process: Option<Process>,
    /// Who is on the way.
    pub attacker: Attacker,
    pub(super) victims: Vec<Victim>,
    /// The genuine resolver's. Its public half is everybody's; an attack that uses a private key of it says why the
    /// attacker has that.
    pub(super) identity: Identity,
    /// What the attacker wrote down before all of it, where its group does so.
    pub(super) old_zones: Recording,
    attack: Attack,
    questions: AtomicU32,
    /// Every secret name that was asked for.
    pub(super) asked: Vec<Name>,
    leaked: Option<Name>,
    /// Moments that an attack wants to find again in the capture.
    pub(super) marks: Vec<SystemTime>,
    /// How long after the attack the product had found its resolver again.
    pub(super) back_after: Option<Duration>,
    /// What came back during the attack.
    pub(super) answered: Vec<(Kind, Answered)>,
}

impl Branch {
    /// Sets the scene, plays the attack, and sees what is left when the attacker is gone.
    pub(super) fn play(&mut self) -> Told {
        if self.attack.stage == Stage::Known {
            self.start_victims()?;
            self.all_is_well()?;
        }
        (self.attack.play)(self)?;
        if self.attack.stage == Stage::Known {
            self.attacker.turn(Manner::honest())?;
            self.comes_back()?;
        }
        self.attacker.turn(Manner::honest())?;
        self.show_a_leak()
    }

    /// Starts those who do not run, all at the same time.
    pub(super) fn start_victims(&mut self) -> Told {
        let (identity, resolver) = (&self.identity, self.resolver.into());
        let starts = all_at_once(&mut self.victims, |victim| victim.start(resolver, identity));
        starts.into_iter().collect()
    }

    /// The attacker writes down what the resolver publishes.
    pub(super) fn record(&self) -> Told {
        let name = self.identity.name().as_name();
        self.old_zones.record(name, self.attacker.genuine());
        if self.old_zones.length() == answers::walk_questions(name).len() {
            return Ok(());
        }
        Err(Failure::new(
            "the resolver did not answer all that was to be recorded",
        ))
    }

    /// The victim that is the product.
    pub(super) fn product(&mut self) -> &mut Victim {
        &mut self.victims[0]
    }

    /// Ends the product and starts it again: what it knows, it knows from its store.
    pub(super) fn restart_product(&mut self) -> Told {
        let Self {
            victims,
            identity,
            resolver,
            ..
        } = self;
        let product = &mut victims[0];
        product.end()?;
        product.start((*resolver).into(), identity)
    }

    /// Remembers this moment.
    pub(super) fn mark(&mut self) {
        self.marks.push(SystemTime::now());
    }

    /// Kills the product and starts it again, without waiting for anything but its sockets.
    pub(super) fn crash_product(&mut self) -> Told {
        let Self {
            victims, resolver, ..
        } = self;
        victims[0].crash((*resolver).into())
    }

    /// Every victim asks for so many new names, all at the same time; what they are told counts.
    pub(super) fn ask(&mut self, times: usize) {
        let questions: Vec<_> = (0..times).map(|_| self.question()).collect();
        let answers = self.answers(&questions, Victim::ask);
        self.note(questions, answers);
    }

    /// The same for these questions, which all will have an answer to.
    pub(super) fn ask_for(&mut self, questions: Vec<Question>) {
        let answers = self.answers(&questions, Victim::ask_for_known);
        self.note(questions, answers);
    }

    fn note(&mut self, questions: Vec<Question>, answers: Vec<(Kind, Answered)>) {
        self.answered.extend(answers);
        self.asked
            .extend(questions.into_iter().map(|question| question.name));
    }

    fn answers(
        &self,
        questions: &[Question],
        ask: fn(&Victim, &Question) -> Answered,
    ) -> Vec<(Kind, Answered)> {
        let victims = self.victims.iter();
        let asking = victims.flat_map(|one| questions.iter().map(move |question| (one, question)));
        all_at_once(asking, |(victim, question)| {
            (victim.kind, ask(victim, question))
        })
    }

    /// A name that was never asked before: no cache can answer it.
    pub(super) fn question(&self) -> Question {
        let number = self.questions.fetch_add(1, Ordering::Relaxed);
        let name = Name::from_ascii(format!("q{number}.{}.{SECRET}", self.link))
            .expect("numbers and links make names");
        Question::new(&name, RecordType::A)
    }

    /// An attack on somebody who is not served anyway would prove nothing.
    pub(super) fn all_is_well(&mut self) -> Told {
        let question = self.question();
        let answers = self.answers(std::slice::from_ref(&question), Victim::ask_for_known);
        self.asked.push(question.name);
        match answers
            .iter()
            .find(|(_, told)| told.outcome != Outcome::Private)
        {
            None => Ok(()),
            Some((kind, told)) => Err(Failure::new(format!(
                "before the attack {kind:?} is told {}",
                told.words
            ))),
        }
    }

    /// Puts one question in cleartext on the link, from the product's laptop: who does not see this one would not have
    /// seen others.
    pub(super) fn show_a_leak(&mut self) -> Told {
        let question = self.question();
        let server = SocketAddr::new(self.resolver.into(), 53);
        self.victims[0]
            .host
            .within(|| ask_once(server, &question, Duration::from_secs(3)))?;
        self.leaked = Some(question.name);
        Ok(())
    }

    /// What [`Branch::show_a_leak`] asked for.
    pub(super) fn leak(&self) -> Result<&Name, Failure> {
        self.leaked
            .as_ref()
            .ok_or_else(|| Failure::new("no leak was shown to the capture"))
    }

    /// The attacker is gone: the product finds its resolver by itself.
    pub(super) fn comes_back(&mut self) -> Told {
        let began = Instant::now();
        loop {
            let question = self.question();
            let told = self.victims[0].ask(&question);
            self.asked.push(question.name);
            match told.outcome {
                Outcome::Private => {
                    self.back_after = Some(began.elapsed());
                    return Ok(());
                }
                Outcome::Believed | Outcome::Read => {
                    return Err(Failure::new(format!(
                        "after the attack the product is told {}",
                        told.words
                    )));
                }
                Outcome::Refused | Outcome::Silent if began.elapsed() > BACK_WITHIN => {
                    return Err(Failure::new(format!(
                        "{BACK_WITHIN:?} after the attack the product still says {}",
                        told.words
                    )));
                }
                Outcome::Refused | Outcome::Silent => thread::sleep(ASK_EVERY),
            }
        }
    }
}
