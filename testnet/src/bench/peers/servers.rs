//! The servers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Configure, NULL_AGAIN, Peer, Place, Role, path, write};
use crate::{
    bench::{Failure, NULL, OURS, Plan},
    products, programs,
};

/// Ours, the floor, and every peer that is installed and wanted.
pub(crate) fn servers(plan: &Plan) -> Vec<Peer> {
    let known: [(&str, &str, Configure); 5] = [
        ("unbound", "unbound", unbound),
        ("kresd", "kresd", kresd),
        ("named", "named", named),
        ("dnsdist", "dnsdist", dnsdist),
        ("hickory", "hickory-dns", hickory),
    ];
    let mut peers = vec![
        Peer::known(NULL, null_server),
        Peer::known(OURS, |place| ours(place, &products::find("zzdot")?)),
    ];
    for (name, folder) in &plan.builds {
        peers.push(Peer::build(
            format!("{OURS}-{name}"),
            folder,
            |place, folder| ours(place, &folder.join("zzdot")),
        ));
        // With the same cryptography.
        if folder.join("zzdot-testnet").is_file() {
            peers.push(Peer::build(
                format!("{NULL}-{name}"),
                folder,
                |place, folder| Ok(null_server_of(place, &folder.join("zzdot-testnet"))),
            ));
        }
    }
    peers.extend(Peer::others(plan, &known, &plan.servers));
    peers.push(Peer::known(NULL_AGAIN, null_server));
    peers
}

/// The floor, from this very program.
pub(crate) fn null_server(place: &Place<'_>) -> Result<Command, Failure> {
    Ok(null_server_of(place, &std::env::current_exe()?))
}

fn null_server_of(place: &Place<'_>, program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .arg("null-server")
        .args(["--udp", &place.udp.to_string()])
        .args(["--dot", &place.dot.to_string()])
        .arg("--certificate")
        .arg(&place.material.certificate)
        .arg("--key")
        .arg(&place.material.key);
    command
}

/// As it comes; only the limits are those of a server with so many askers at one address.
fn ours(place: &Place<'_>, program: &Path) -> Result<Command, Failure> {
    let config = format!(
        "state-dir = {:?}\n[listen]\ndns = [\"{}\"]\ndot = [\"{}\"]\n[access]\nallow = [\"127.0.0.0/8\"]\n[resolve]\nmode = \"forward\"\n\
         upstreams = [\"{}\"]\n[limits]\nconnections = 20000\nconnections-per-address = 20000\n",
        place.folder.join("state"),
        place.udp,
        place.dot,
        place.upstream
    );
    let mut command = Command::new(program);
    command
        .args(["serve", "--config"])
        .arg(write(&place.folder, "zzdot.toml", &config)?);
    Ok(command)
}

fn unbound(place: &Place<'_>) -> Result<Command, Failure> {
    let folder = path(&place.folder);
    // It counts descriptors once for every interface, and shortens its patience when half the connections are taken.
    let (interface, connections, outgoing, queries) = if place.role == Role::CrowdedServer {
        (String::new(), 19_500, 100, 50)
    } else {
        let interface = format!("  interface: {}@{}\n", place.udp.ip(), place.udp.port());
        (interface, 3000, 4096, 2048)
    };
    let config = format!(
        "server:\n  directory: \"{folder}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  logfile: \"\"\n  \
         verbosity: 0\n  do-daemonize: no\n  num-threads: 1\n{interface}  interface: {dot_ip}@{dot_port}\n  tls-port: {dot_port}\n  \
         tls-service-key: \"{key}\"\n  tls-service-pem: \"{certificate}\"\n  access-control: 127.0.0.0/8 allow\n  \
         do-not-query-localhost: no\n  module-config: \"iterator\"\n  minimal-responses: yes\n  incoming-num-tcp: {connections}\n  \
         tcp-idle-timeout: 1200000\n  outgoing-range: {outgoing}\n  num-queries-per-thread: {queries}\n  msg-cache-size: 64m\n  \
         rrset-cache-size: 128m\n  rrset-roundrobin: no\nforward-zone:\n  name: \".\"\n  forward-addr: {up_ip}@{up_port}\n\
         remote-control:\n  control-enable: no\n",
        dot_ip = place.dot.ip(),
        dot_port = place.dot.port(),
        key = path(&place.material.key),
        certificate = path(&place.material.certificate),
        up_ip = place.upstream.ip(),
        up_port = place.upstream.port(),
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
        "net.listen('{}', {}, {{ kind = 'dns' }})\nnet.listen('{}', {}, {{ kind = 'tls' }})\nnet.tls('{}', '{}')\n\
         net.tcp_in_idle(1200000)\nnet.tcp_pipeline(1000)\ncache.open(100*MB, 'lmdb://{folder}/cache')\n{QUIET_KRESD}\
         policy.add(policy.all(policy.FORWARD('{}@{}')))\n",
        place.udp.ip(),
        place.udp.port(),
        place.dot.ip(),
        place.dot.port(),
        path(&place.material.certificate),
        path(&place.material.key),
        place.upstream.ip(),
        place.upstream.port(),
    );
    let mut command = Command::new(programs::find("kresd")?);
    command
        .args(["-n", "-q", "-c"])
        .arg(write(&place.folder, "kresd.conf", &config)?)
        .arg(&place.folder);
    Ok(command)
}

/// No validation, and nothing that asks the internet on its own.
pub(super) const QUIET_KRESD: &str = "trust_anchors.remove('.')\nmodules.unload('ta_signal_query')\nmodules.unload('ta_update')\n\
    modules.unload('priming')\nmodules.unload('detect_time_jump')\nmodules.unload('detect_time_skew')\n";

fn named(place: &Place<'_>) -> Result<Command, Failure> {
    let folder = path(&place.folder);
    let config = format!(
        "tls dot {{ cert-file \"{certificate}\"; key-file \"{key}\"; protocols {{ TLSv1.3; }}; }};\noptions {{\n  directory \"{folder}\"; \
         pid-file none; session-keyfile \"{folder}/session.key\"; lock-file none; managed-keys-directory \"{folder}\";\n  \
         listen-on port {udp_port} {{ {udp_ip}; }};\n  listen-on port {dot_port} tls dot {{ {dot_ip}; }};\n  listen-on-v6 {{ none; }};\n  \
         allow-query {{ any; }}; allow-recursion {{ any; }};\n  recursion yes; forward only; forwarders {{ {up_ip} port {up_port}; }};\n  \
         dnssec-validation no; empty-zones-enable no; minimal-responses yes;\n  tcp-clients 20000; tcp-idle-timeout 1200; \
         tcp-keepalive-timeout 1200; tcp-listen-queue 1024; recursive-clients 20000; max-cache-size 256m;\n  querylog no;\n}};\n\
         controls {{ }};\nlogging {{ channel errors {{ stderr; severity error; }}; category default {{ errors; }}; \
         category queries {{ null; }}; category lame-servers {{ null; }}; }};\n",
        certificate = path(&place.material.certificate),
        key = path(&place.material.key),
        udp_port = place.udp.port(),
        udp_ip = place.udp.ip(),
        dot_port = place.dot.port(),
        dot_ip = place.dot.ip(),
        up_ip = place.upstream.ip(),
        up_port = place.upstream.port(),
    );
    let mut command = Command::new(programs::find("named")?);
    command.args(["-f", "-n", "1", "-U", "1", "-c"]).arg(write(
        &place.folder,
        "named.conf",
        &config,
    )?);
    Ok(command)
}

fn dnsdist(place: &Place<'_>) -> Result<Command, Failure> {
    let config = format!(
        "setSecurityPollSuffix('')\nsetACL({{'127.0.0.0/8'}})\nsetLocal('{}', {{tcpListenQueueSize=4096}})\n\
         addTLSLocal('{}', '{}', '{}', {{provider='openssl', minTLSVersion='tls1.3', maxInFlight=1000, tcpListenQueueSize=4096}})\n\
         setMaxTCPClientThreads(1)\nsetTCPRecvTimeout(1200)\nsetMaxTCPQueuedConnections(20000)\n\
         newServer({{address='{}', checkInterval=60, checkName='n1.bench.example.'}})\n\
         pc = newPacketCache(100000, {{maxTTL=86400}})\ngetPool(''):setCache(pc)\n",
        place.udp,
        place.dot,
        path(&place.material.certificate),
        path(&place.material.key),
        place.upstream,
    );
    let mut command = Command::new(programs::find("dnsdist")?);
    command
        .args(["--supervised", "--disable-syslog", "-C"])
        .arg(write(&place.folder, "dnsdist.conf", &config)?);
    Ok(command)
}

fn hickory(place: &Place<'_>) -> Result<Command, Failure> {
    let folder = path(&place.folder);
    let zones: PathBuf = place.folder.join("zones");
    fs::create_dir_all(&zones)?;
    let config = format!(
        "listen_addrs_ipv4 = [\"{}\"]\nlisten_port = {}\ntls_listen_port = {}\ntcp_request_timeout = 1200\ndirectory = \"{folder}\"\n\
         drop_privileges = false\nallow_networks = [\"127.0.0.0/8\"]\ntls_cert = {{ path = {:?}, private_key = {:?} }}\n[[zones]]\n\
         zone = \".\"\nzone_type = \"External\"\n[[zones.stores]]\ntype = \"forward\"\nname_servers = [ {{ ip = \"{}\", connections = \
         [ {{ port = {}, protocol = {{ type = \"udp\" }} }} ] }} ]\n[zones.stores.options]\ncache_size = 100000\n\
         max_active_requests = 4096\nuse_hosts_file = \"Never\"\n",
        place.udp.ip(),
        place.udp.port(),
        place.dot.port(),
        place.material.certificate,
        place.material.key,
        place.upstream.ip(),
        place.upstream.port(),
    );
    let mut command = Command::new(programs::find("hickory-dns")?);
    command
        .args(["-q", "--workers", "1", "-c"])
        .arg(write(&place.folder, "hickory.toml", &config)?)
        .arg("-z")
        .arg(zones);
    Ok(command)
}
