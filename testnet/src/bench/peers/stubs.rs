//! The stubs.

use std::{path::Path, process::Command};

use super::{
    Configure, NULL_AGAIN, Peer, Place, material::SERVER_NAME, path, servers::QUIET_KRESD, write,
};
use crate::{
    bench::{Failure, NULL, OURS, Plan},
    products, programs,
};

/// Ours, the floor, and every peer that is installed and wanted.
pub(crate) fn stubs(plan: &Plan) -> Vec<Peer> {
    let known: [(&str, &str, Configure); 5] = [
        ("unbound", "unbound", unbound),
        ("kresd", "kresd", kresd),
        ("dnsdist", "dnsdist", dnsdist),
        ("smartdns", "smartdns", smartdns),
        ("stubby", "stubby", stubby),
    ];
    let mut peers = vec![
        Peer::known(NULL, null),
        Peer::known(OURS, |place| ours(place, &products::find("zzdot-client")?)),
    ];
    for (name, folder) in &plan.builds {
        peers.push(Peer::build(
            format!("{OURS}-{name}"),
            folder,
            |place, folder| ours(place, &folder.join("zzdot-client")),
        ));
    }
    peers.extend(Peer::others(plan, &known, &plan.stubs));
    peers.push(Peer::known(NULL_AGAIN, null));
    peers
}

fn null(place: &Place<'_>) -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("null-stub")
        .args(["--udp", &place.udp.to_string()])
        .args(["--server", &place.upstream.to_string()]);
    Ok(command)
}

fn ours(place: &Place<'_>, program: &Path) -> Result<Command, Failure> {
    let config = format!(
        "listen = [\"{}\"]\nserver = \"tls://{}#{SERVER_NAME}\"\nca-file = {:?}\nstate-dir = {:?}\n",
        place.udp,
        place.upstream,
        place.material.authority,
        place.folder.join("state"),
    );
    let mut command = Command::new(program);
    command
        .args(["run", "--config"])
        .arg(write(&place.folder, "zzdot-client.toml", &config)?);
    Ok(command)
}

fn unbound(place: &Place<'_>) -> Result<Command, Failure> {
    let folder = path(&place.folder);
    let config = format!(
        "server:\n  directory: \"{folder}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  logfile: \"\"\n  \
         verbosity: 0\n  do-daemonize: no\n  num-threads: 1\n  interface: {}@{}\n  access-control: 127.0.0.0/8 allow\n  \
         do-not-query-localhost: no\n  module-config: \"iterator\"\n  tls-cert-bundle: \"{}\"\n  outgoing-range: 4096\n  \
         outgoing-num-tcp: 100\n  num-queries-per-thread: 4096\nforward-zone:\n  name: \".\"\n  forward-tls-upstream: yes\n  \
         forward-no-cache: yes\n  forward-addr: {}@{}#{SERVER_NAME}\nremote-control:\n  control-enable: no\n",
        place.udp.ip(),
        place.udp.port(),
        path(&place.material.authority),
        place.upstream.ip(),
        place.upstream.port(),
    );
    let mut command = Command::new(programs::find("unbound")?);
    command
        .args(["-d", "-p", "-c"])
        .arg(write(&place.folder, "unbound.conf", &config)?);
    Ok(command)
}

fn kresd(place: &Place<'_>) -> Result<Command, Failure> {
    let folder = path(&place.folder);
    let config = format!(
        "net.listen('{}', {}, {{ kind = 'dns' }})\ncache.open(50*MB, 'lmdb://{folder}/cache')\n{QUIET_KRESD}\
         policy.add(policy.all(policy.FLAGS('NO_CACHE')))\n\
         policy.add(policy.all(policy.TLS_FORWARD({{{{'{}@{}', hostname='{SERVER_NAME}', ca_file='{}'}}}})))\n",
        place.udp.ip(),
        place.udp.port(),
        place.upstream.ip(),
        place.upstream.port(),
        path(&place.material.authority),
    );
    let mut command = Command::new(programs::find("kresd")?);
    command
        .args(["-n", "-q", "-c"])
        .arg(write(&place.folder, "kresd.conf", &config)?)
        .arg(&place.folder);
    Ok(command)
}

fn dnsdist(place: &Place<'_>) -> Result<Command, Failure> {
    let config = format!(
        "setSecurityPollSuffix('')\nsetACL({{'127.0.0.0/8'}})\nsetLocal('{}')\nsetMaxTCPClientThreads(1)\n\
         newServer({{address='{}', tls='openssl', subjectName='{SERVER_NAME}', caStore='{}', validateCertificates=true, \
         checkInterval=60, checkName='n1.bench.example.', maxInFlight=1000}})\n",
        place.udp,
        place.upstream,
        path(&place.material.authority),
    );
    let mut command = Command::new(programs::find("dnsdist")?);
    command
        .args(["--supervised", "--disable-syslog", "-C"])
        .arg(write(&place.folder, "dnsdist.conf", &config)?);
    Ok(command)
}

fn smartdns(place: &Place<'_>) -> Result<Command, Failure> {
    let config = format!(
        "bind {} -no-speed-check -no-cache -no-dualstack-selection -no-rule-addr -no-rule-nameserver -no-rule-ipset -no-rule-soa\n\
         cache-size 0\nspeed-check-mode none\ndualstack-ip-selection no\nprefetch-domain no\nserve-expired no\nlog-level error\n\
         log-file {}\naudit-enable no\nserver-tls {} -host-name {SERVER_NAME} -tls-host-verify {SERVER_NAME}\nca-file {}\n",
        place.udp,
        path(&place.folder.join("smartdns.log")),
        place.upstream,
        path(&place.material.authority),
    );
    let mut command = Command::new(programs::find("smartdns")?);
    command
        .args(["-f", "-p", "-", "-c"])
        .arg(write(&place.folder, "smartdns.conf", &config)?);
    Ok(command)
}

/// It does not check the certificate: it takes pins and public authorities, not this one.
fn stubby(place: &Place<'_>) -> Result<Command, Failure> {
    let config = format!(
        "resolution_type: GETDNS_RESOLUTION_STUB\ndns_transport_list:\n  - GETDNS_TRANSPORT_TLS\n\
         tls_authentication: GETDNS_AUTHENTICATION_NONE\ntls_query_padding_blocksize: 128\nedns_client_subnet_private: 1\n\
         round_robin_upstreams: 0\nidle_timeout: 60000\ntimeout: 5000\nlimit_outstanding_queries: 0\nlisten_addresses:\n  - {}@{}\n\
         upstream_recursive_servers:\n  - address_data: {}\n    tls_port: {}\n",
        place.udp.ip(),
        place.udp.port(),
        place.upstream.ip(),
        place.upstream.port(),
    );
    let mut command = Command::new(programs::find("stubby")?);
    command
        .arg("-C")
        .arg(write(&place.folder, "stubby.yml", &config)?);
    Ok(command)
}
