//! The forwarders, each as Debian has it, and the settings with which people run them.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
};

use hickory_proto::{
    dnssec::{Algorithm, PublicKeyBuf, rdata::DNSKEY},
    rr::Name,
};
use zzdot_zonegen::keys;

use super::{Model, Place, Verdict};
use crate::{
    process::Process,
    programs,
    servers::{self, READY},
    story::Failure,
};

/// All of them, in the order of the table.
pub const MODELS: &[Model] = &[
    Model {
        name: "dnsmasq",
        about: "dnsmasq with a server and nothing else",
        verdict: Verdict::Upgraded,
        forget: None,
        start: |place| dnsmasq(place, &[]),
    },
    Model {
        name: "dnsmasq-router",
        about: "dnsmasq as router firmware sets it: `domain-needed`, `bogus-priv`, `stop-dns-rebind`",
        verdict: Verdict::Upgraded,
        forget: None,
        start: |place| {
            let set = [
                "--domain-needed",
                "--bogus-priv",
                "--stop-dns-rebind",
                "--rebind-localhost-ok",
                "--local=/lan/",
                "--domain=lan",
                "--cache-size=1000",
            ];
            dnsmasq(place, &set)
        },
    },
    Model {
        name: "dnsmasq-dnssec",
        about: "dnsmasq that validates: `dnssec`, `dnssec-check-unsigned`",
        verdict: Verdict::Upgraded,
        forget: None,
        start: |place| {
            let anchor = format!("--trust-anchor={}", anchor_of_dnsmasq(place)?);
            dnsmasq(place, &["--dnssec", "--dnssec-check-unsigned", &anchor])
        },
    },
    Model {
        name: "dnsmasq-filter",
        about: "dnsmasq that takes out what old Windows asks: `filterwin2k`",
        verdict: Verdict::Upgraded,
        forget: None,
        start: |place| dnsmasq(place, &["--filterwin2k"]),
    },
    Model {
        name: "dnsmasq-small",
        about: "dnsmasq that takes and gives no datagram above 512 octets: `edns-packet-max=512`",
        verdict: Verdict::Upgraded,
        forget: None,
        start: |place| dnsmasq(place, &["--edns-packet-max=512"]),
    },
    Model {
        name: "dnsmasq-udp",
        about: "dnsmasq behind a packet filter that lets no TCP through to it",
        verdict: Verdict::Upgraded,
        forget: None,
        start: |place| {
            without_tcp(place)?;
            dnsmasq(place, &[])
        },
    },
    Model {
        name: "unbound",
        about: "unbound, validating",
        verdict: Verdict::Upgraded,
        forget: None,
        start: |place| unbound(place, ""),
    },
    Model {
        name: "unbound-private",
        about: "unbound, validating, with `private-address`",
        verdict: Verdict::Upgraded,
        forget: None,
        start: |place| {
            unbound(
                place,
                "  private-address: 10.0.0.0/8\n  private-address: fd00::/8\n",
            )
        },
    },
    Model {
        name: "unbound-insecure",
        about: "unbound, validating, with `domain-insecure` for both names",
        verdict: Verdict::Upgraded,
        forget: None,
        start: |place| {
            let set = "  domain-insecure: \"zz.\"\n  domain-insecure: \"resolver-name.arpa.\"\n";
            unbound(place, set)
        },
    },
    Model {
        name: "unbound-plain",
        about: "unbound that does not validate",
        verdict: Verdict::Upgraded,
        forget: None,
        start: |place| unbound(place, "  module-config: \"iterator\"\n"),
    },
    Model {
        name: "unbound-dns64",
        about: "unbound, validating, with `dns64`",
        verdict: Verdict::Upgraded,
        forget: None,
        start: |place| {
            let set =
                "  module-config: \"dns64 validator iterator\"\n  dns64-prefix: 64:ff9b::/96\n";
            unbound(place, set)
        },
    },
    Model {
        name: "kresd",
        about: "Knot Resolver, `policy.FORWARD`, validating",
        verdict: Verdict::Upgraded,
        forget: Some(forget_kresd),
        start: |place| kresd(place, "FORWARD", ""),
    },
    Model {
        name: "kresd-rebinding",
        about: "the same with the module `rebinding`",
        verdict: Verdict::Upgraded,
        forget: Some(forget_kresd),
        start: |place| kresd(place, "FORWARD", "modules.load('rebinding < iterate')\n"),
    },
    Model {
        name: "kresd-insecure",
        about: "Knot Resolver, `policy.FORWARD`, validating, with `set_insecure` and `NO_CACHE` for both names",
        verdict: Verdict::Upgraded,
        forget: Some(forget_kresd),
        start: |place| {
            let set = "trust_anchors.set_insecure({ 'zz', 'resolver-name.arpa' })\n\
                       policy.add(policy.suffix(policy.FLAGS('NO_CACHE'), policy.todnames({ 'zz', 'resolver-name.arpa' })))\n";
            kresd(place, "FORWARD", set)
        },
    },
    Model {
        name: "kresd-stub",
        about: "Knot Resolver, `policy.STUB`",
        verdict: Verdict::Legacy("no-signatures"),
        forget: Some(forget_kresd),
        start: |place| kresd(place, "STUB", ""),
    },
    Model {
        name: "bind",
        about: "BIND, `forward only`, validating",
        verdict: Verdict::Upgraded,
        forget: Some(forget_bind),
        start: |place| bind(place, "yes", ""),
    },
    Model {
        name: "bind-private",
        about: "the same with `deny-answer-addresses`",
        verdict: Verdict::Upgraded,
        forget: Some(forget_bind),
        start: |place| {
            bind(
                place,
                "yes",
                "deny-answer-addresses { 10.0.0.0/8; fd00::/8; };",
            )
        },
    },
    Model {
        name: "bind-insecure",
        about: "BIND, `forward only`, validating, with `validate-except` for both names and `synth-from-dnssec no`",
        verdict: Verdict::Upgraded,
        forget: None,
        start: |place| {
            bind(
                place,
                "yes",
                "validate-except { \"zz\"; \"resolver-name.arpa\"; }; synth-from-dnssec no;",
            )
        },
    },
    Model {
        name: "bind-dns64",
        about: "BIND, `forward only`, validating, with `dns64`",
        verdict: Verdict::Upgraded,
        forget: Some(forget_bind),
        start: |place| bind(place, "yes", "dns64 64:ff9b::/96 { };"),
    },
    Model {
        name: "bind-plain",
        about: "BIND, `forward only`, `dnssec-validation no`",
        verdict: Verdict::Upgraded,
        forget: None,
        start: |place| bind(place, "no", ""),
    },
    Model {
        name: "resolved",
        about: "systemd-resolved with `DNSStubListenerExtra`, `DNSSEC=no` (so Debian builds it)",
        verdict: Verdict::Upgraded,
        forget: None,
        start: |place| resolved(place, "no"),
    },
    Model {
        name: "resolved-dnssec",
        about: "the same with `DNSSEC=yes`",
        verdict: Verdict::Upgraded,
        forget: None,
        start: |place| resolved(place, "yes"),
    },
    Model {
        name: "dnsdist-types",
        about: "dnsdist that fails at types that it was not told of: `RCodeAction(DNSRCode.SERVFAIL)` for KEY, TLSA and SVCB",
        verdict: Verdict::NoAnswer,
        forget: None,
        start: |place| {
            let rule = "OrRule({ QTypeRule(25), QTypeRule(52), QTypeRule(64) })";
            dnsdist(
                place,
                &format!("addAction({rule}, RCodeAction(DNSRCode.SERVFAIL))\n"),
            )
        },
    },
    Model {
        name: "dnsdist-old",
        about: "dnsdist as a server from before EDNS: FORMERR for each question with an OPT record",
        verdict: Verdict::Legacy("format-error"),
        forget: None,
        start: |place| {
            let rule = "RecordsTypeCountRule(DNSSection.Additional, 41, 1, 1)";
            dnsdist(
                place,
                &format!("addAction({rule}, RCodeAction(DNSRCode.FORMERR))\n"),
            )
        },
    },
];

/// Whoever connects to the box's port of DNS is turned away.
fn without_tcp(place: &Place<'_>) -> Result<(), Failure> {
    let rules = "table inet lab\ndelete table inet lab\ntable inet lab {\n  chain input {\n    type filter hook input priority filter;\n    \
                 tcp dport 53 reject with tcp reset\n  }\n}\n";
    let rules = place.host.write("no-tcp.nft", rules)?;
    let output = place
        .host
        .output("nft", &["-f", &rules.to_string_lossy()])?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("nft: {said}")))
}

fn dnsdist(place: &Place<'_>, set: &str) -> Result<Process, Failure> {
    let config = format!(
        "setSecurityPollSuffix(\"\")\nsetLocal('{}:53')\nsetACL('0.0.0.0/0')\nnewServer({{ address = '{}', healthCheckMode = 'up' }})\n{set}",
        place.listen.ip(),
        place.upstream,
    );
    let mut command = place.host.command("dnsdist")?;
    command
        .args(["--supervised", "--disable-syslog", "-C"])
        .arg(place.host.write("dnsdist.conf", &config)?);
    Ok(place.host.start("dnsdist", command)?)
}

fn dnsmasq(place: &Place<'_>, set: &[&str]) -> Result<Process, Failure> {
    let mut command = servers::dnsmasq_command(place.host)?;
    command
        .arg(format!("--listen-address={}", place.listen.ip()))
        .arg(format!("--server={}", place.upstream.ip()))
        .args(set);
    Ok(place.host.start("dnsmasq", command)?)
}

fn unbound(place: &Place<'_>, set: &str) -> Result<Process, Failure> {
    let config = format!(
        "server:\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  logfile: \"\"\n  do-daemonize: no\n  \
         num-threads: 1\n  ede: yes\n  access-control: 0.0.0.0/0 allow\n  interface: {}\n  trust-anchor-file: {:?}\n{set}\
         remote-control:\n  control-enable: no\nforward-zone:\n  name: \".\"\n  forward-addr: {}\n",
        place.listen.ip(),
        place.internet.trust_anchor(),
        place.upstream.ip(),
    );
    let mut command = place.host.command("unbound")?;
    command
        .args(["-d", "-p", "-c"])
        .arg(place.host.write("unbound.conf", &config)?);
    Ok(place.host.start("unbound", command)?)
}

/// Whom the lab's BIND obeys, on its own machine.
const RNDC_KEY: &str = "key \"rndc-key\" { algorithm hmac-sha256; secret \"emRvdCBsYWIsIG5vYm9keSdzIHNlY3JldCBhdCBhbGw=\"; };\n";

fn forget_bind(place: &Place<'_>) -> Result<(), Failure> {
    let key = place.host.folder().join("rndc.key");
    let key = key.to_string_lossy();
    let output = place
        .host
        .output("rndc", &["-s", "127.0.0.1", "-k", &key, "flush"])?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("rndc flush: {said}")))
}

fn forget_kresd(place: &Place<'_>) -> Result<(), Failure> {
    let mut control = UnixStream::connect(control_of_kresd(place))?;
    control.set_read_timeout(Some(READY))?;
    control.write_all(b"cache.clear()\n")?;
    // It answers when it is done.
    let mut answer = [0; 1024];
    match control.read(&mut answer)? {
        0 => Err(Failure::new("kresd hung up at cache.clear()")),
        _ => Ok(()),
    }
}

fn control_of_kresd(place: &Place<'_>) -> PathBuf {
    place.host.folder().join("kresd/control.sock")
}

fn kresd(place: &Place<'_>, way: &str, set: &str) -> Result<Process, Failure> {
    let folder = place.host.folder().join("kresd");
    fs::create_dir_all(&folder)?;
    // Nothing that asks the internet on its own account.
    let config = format!(
        "net.listen('{}', 53, {{ kind = 'dns' }})\nnet.listen('{}', nil, {{ kind = 'control' }})\ncache.open(10*MB, 'lmdb://{}/cache')\n\
         modules.unload('ta_signal_query')\nmodules.unload('ta_update')\nmodules.unload('priming')\n\
         modules.unload('detect_time_jump')\nmodules.unload('detect_time_skew')\ntrust_anchors.remove('.')\n\
         trust_anchors.add_file('{}', true)\n{set}policy.add(policy.all(policy.{way}('{}')))\n",
        place.listen.ip(),
        control_of_kresd(place).display(),
        folder.display(),
        place.internet.trust_anchor().display(),
        place.upstream.ip(),
    );
    let mut command = place.host.command("kresd")?;
    command
        .args(["-n", "-q", "-c"])
        .arg(place.host.write("kresd.conf", &config)?)
        .arg(&folder);
    Ok(place.host.start("kresd", command)?)
}

fn bind(place: &Place<'_>, validation: &str, set: &str) -> Result<Process, Failure> {
    let folder = place.host.folder().join("named");
    fs::create_dir_all(&folder)?;
    let key = place.host.write("rndc.key", RNDC_KEY)?;
    let key = key.display();
    let folder = folder.display();
    let anchor = if validation == "no" {
        String::new()
    } else {
        format!("trust-anchors {{ {} }};\n", anchor_of_bind(place)?)
    };
    let config = format!(
        "options {{\n  directory \"{folder}\"; pid-file none; session-keyfile \"{folder}/session.key\"; lock-file none; \
         managed-keys-directory \"{folder}\";\n  listen-on {{ {}; }}; listen-on-v6 {{ none; }};\n  allow-query {{ any; }}; \
         allow-recursion {{ any; }}; allow-query-cache {{ any; }};\n  recursion yes; forward only; forwarders {{ {}; }};\n  \
         dnssec-validation {validation}; {set}\n}};\n{anchor}include \"{key}\";\n\
         controls {{ inet 127.0.0.1 port 953 allow {{ 127.0.0.1; }} keys {{ \"rndc-key\"; }}; }};\n",
        place.listen.ip(),
        place.upstream.ip(),
    );
    let mut command = place.host.command("named")?;
    command
        .args(["-g", "-n", "1", "-U", "1", "-c"])
        .arg(place.host.write("named.conf", &config)?);
    Ok(place.host.start("named", command)?)
}

/// Unpacked by `scripts/packages`, not installed: installed, it would become the resolver of this machine. It finds its
/// configuration and keeps its state below a `/run/systemd` of its own.
fn resolved(place: &Place<'_>, validation: &str) -> Result<Process, Failure> {
    let program = programs::unpacked()?.join("usr/lib/systemd/systemd-resolved");
    let config = format!(
        "[Resolve]\nDNS={}\nFallbackDNS=\nDNSSEC={validation}\nDNSStubListenerExtra={}\nLLMNR=no\nMulticastDNS=no\n",
        place.upstream.ip(),
        place.listen.ip(),
    );
    place
        .host
        .write("resolved/resolved.conf.d/lab.conf", &config)?;
    fs::create_dir_all(place.host.folder().join("resolved/resolve"))?;
    place.host.write(
        "resolved/dnssec-trust-anchors.d/root.positive",
        &anchor_of_resolved(place)?,
    )?;
    let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let passwd = place.host.write(
        "passwd",
        &format!("root:x:0:0::/:/bin/sh\nsystemd-resolve:x:{user}:{group}::/:/bin/false\n"),
    )?;
    let groups = place
        .host
        .write("group", &format!("root:x:0:\nsystemd-resolve:x:{group}:\n"))?;
    let script = "mkdir -p /run/systemd && mount --bind \"$1\" /run/systemd && mount --bind \"$2\" /etc/passwd && \
                  mount --bind \"$3\" /etc/group && exec \"$4\"";
    let mut command = place.host.command("sh")?;
    command
        .args(["-c", script, "sh"])
        .arg(place.host.folder().join("resolved"))
        .arg(passwd)
        .arg(groups)
        .arg(program);
    Ok(place.host.start("systemd-resolved", command)?)
}

/// The fields of the DNSKEY record that is the root's anchor.
fn anchor(place: &Place<'_>) -> Result<Vec<String>, Failure> {
    let text = fs::read_to_string(place.internet.trust_anchor())?;
    let words = text.split_whitespace();
    let fields = words.skip_while(|word| *word != "DNSKEY").skip(1);
    Ok(fields.map(str::to_owned).collect())
}

/// The digest: dnsmasq takes no key.
fn anchor_of_dnsmasq(place: &Place<'_>) -> Result<String, Failure> {
    let data = anchor(place)?;
    let [flags, _, _, key @ ..] = data.as_slice() else {
        return Err(Failure::new("an anchor has four fields"));
    };
    let key = data_encoding::BASE64.decode(key.concat().as_bytes())?;
    let key = PublicKeyBuf::new(key, Algorithm::ECDSAP256SHA256);
    let ds = keys::ds(&Name::root(), &DNSKEY::with_flags(flags.parse()?, key));
    Ok(format!(
        ".,{},{},{},{}",
        ds.key_tag(),
        u8::from(ds.algorithm()),
        u8::from(ds.digest_type()),
        data_encoding::HEXUPPER.encode(ds.digest())
    ))
}

fn anchor_of_bind(place: &Place<'_>) -> Result<String, Failure> {
    let data = anchor(place)?;
    let [first, second, third, rest @ ..] = data.as_slice() else {
        return Err(Failure::new("an anchor has four fields"));
    };
    Ok(format!(
        ". static-key {first} {second} {third} \"{}\";",
        rest.concat()
    ))
}

fn anchor_of_resolved(place: &Place<'_>) -> Result<String, Failure> {
    Ok(format!(". IN DNSKEY {}\n", anchor(place)?.join(" ")))
}
