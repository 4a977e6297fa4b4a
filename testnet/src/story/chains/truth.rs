//! What a trace says, in words that can be compared with what the lab knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde_json::Value;

use super::super::{Failure, Told, checks::ensure};
use crate::{host::Host, products};

/// A hop as the lab knows it: who asks whom, what the client can make of it, how, and by which proof.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Truth(
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) &'static str,
);

impl fmt::Display for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(from, to, label, transport, proof) = self;
        write!(f, "{from} -> {to}: {label}, {transport}, {proof}")
    }
}

/// What `zzdot-client trace` said, with machines for names.
#[derive(Clone, Debug)]
pub(super) struct Traced {
    told: Value,
    names: BTreeMap<String, String>,
}

impl Traced {
    /// Traces from a host, without a daemon.
    pub(super) fn from(
        host: &Host,
        server: &str,
        names: &BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        let client = products::find("zzdot-client")?;
        let arguments = ["trace", "--json", "--server", server];
        let output = host.output(&client.to_string_lossy(), &arguments)?;
        let told = serde_json::from_slice(&output.stdout).map_err(|error| {
            Failure::new(format!(
                "trace of {server} ({}): {error}: {}{}",
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ))
        })?;
        Ok(Self::read(told, names))
    }

    /// What a daemon told.
    pub(super) fn read(told: Value, names: &BTreeMap<String, String>) -> Self {
        Self {
            told,
            names: names.clone(),
        }
    }

    /// Compares, hop by hop. `direct` are the machines whose zones were read from themselves, over TLS; none where that
    /// does not matter.
    pub(super) fn is(&self, truth: &[Truth], direct: Option<&[&str]>) -> Told {
        let expected: BTreeSet<_> = truth.iter().map(ToString::to_string).collect();
        let said = self.hops()?;
        ensure(said == expected && truth.len() == self.count(), || {
            format!(
                "the trace says\n    {}\n  and the truth is\n    {}\n{:#}",
                joined(&said),
                joined(&expected),
                self.told
            )
        })?;
        let Some(direct) = direct else {
            return Ok(());
        };
        let direct: BTreeSet<_> = direct.iter().map(|name| (*name).to_owned()).collect();
        let reached = self.reached();
        ensure(reached == direct, || {
            format!(
                "met directly: {reached:?}, and the lab allows {direct:?}\n{:#}",
                self.told
            )
        })
    }

    /// Of the hop that starts at this machine, the label has this reason.
    pub(super) fn gives(&self, from: &str, reason: &str) -> Told {
        let hops = self.told["hops"].as_array().into_iter().flatten();
        let mut reasons = hops
            .filter(|hop| self.node(&hop["from"]) == from)
            .map(|hop| word(&hop["reason"]));
        ensure(reasons.next() == Some(reason), || {
            format!("the reason is not {reason}: {:#}", self.told)
        })
    }

    /// It does not know whom this machine asks, for this reason, and so does not call the chain encrypted.
    pub(super) fn leaves_open(&self, machine: &str, reason: &str) -> Told {
        let nodes = self.told["nodes"].as_array().into_iter().flatten();
        let mut reasons = nodes
            .filter(|node| self.title(node) == machine)
            .map(|node| word(&node["reason"]));
        let open = reasons.next() == Some(reason) && self.told["complete"] == Value::Bool(false);
        ensure(open && self.weakness().is_some(), || {
            format!("{machine} is not left open for {reason}: {:#}", self.told)
        })
    }

    /// How many resolvers and hops it shows, where it says that it was cut at one of its bounds.
    pub(super) fn cut(&self) -> Option<(usize, usize)> {
        let nodes = self.told["nodes"].as_array()?;
        let cut = nodes.iter().any(|node| word(&node["reason"]) == "limit");
        let open = self.told["complete"] == Value::Bool(false);
        (cut && open).then(|| (nodes.len() - 1, self.count()))
    }

    /// The machine that questions go to.
    pub(super) fn asks(&self) -> String {
        self.node(&self.told["asks"])
    }

    /// When the chain was looked at.
    pub(super) fn looked_at(&self) -> String {
        word(&self.told["looked-at"]).to_owned()
    }

    /// Whether it calls the chain encrypted to its end; the reason where it is not.
    pub(super) fn weakness(&self) -> Option<String> {
        if self.told["encrypted-to-end"] == Value::Bool(true) {
            return None;
        }
        let weakness = &self.told["weakness"];
        Some(format!(
            "{} -> {}: {}",
            self.machine(word(&weakness["from"])),
            self.machine(word(&weakness["to"])),
            word(&weakness["label"])
        ))
    }

    fn count(&self) -> usize {
        self.told["hops"].as_array().map_or(0, Vec::len)
    }

    fn hops(&self) -> Result<BTreeSet<String>, Failure> {
        let hops = self.told["hops"].as_array();
        let hops = hops.ok_or_else(|| Failure::new(format!("no hops: {:#}", self.told)))?;
        Ok(hops
            .iter()
            .map(|hop| {
                format!(
                    "{} -> {}: {}, {}, {}",
                    self.node(&hop["from"]),
                    self.node(&hop["to"]),
                    word(&hop["label"]),
                    word(&hop["transport"]),
                    word(&hop["proof"])
                )
            })
            .collect())
    }

    fn reached(&self) -> BTreeSet<String> {
        let nodes = self.told["nodes"].as_array().into_iter().flatten();
        nodes
            .filter(|node| word(&node["reached"]) == "direct")
            .map(|node| self.title(node))
            .collect()
    }

    fn node(&self, number: &Value) -> String {
        let number = number
            .as_u64()
            .and_then(|number| usize::try_from(number).ok());
        number.map_or_else(String::new, |number| {
            self.title(&self.told["nodes"][number])
        })
    }

    fn title(&self, node: &Value) -> String {
        match word(&node["kind"]) {
            "client" => "laptop".to_owned(),
            "named" => self.machine(word(&node["name"])),
            _ => word(&node["address"]).trim_end_matches(":53").to_owned(),
        }
    }

    fn machine(&self, name: &str) -> String {
        let machine = self.names.get(name).map(String::as_str);
        machine.unwrap_or(name).to_owned()
    }
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn joined(lines: &BTreeSet<String>) -> String {
    lines.iter().cloned().collect::<Vec<_>>().join("\n    ")
}
