"""Postfix and Exim, run from the folder that servers.sh unpacks, on ports of 127.0.0.1."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

FOLDER = Path(os.environ.get("MAILER_TEST_SERVERS", "build/servers")).absolute()
ROOT = FOLDER / "root"
USERNAME, PASSWORD = "ann", "s3cret"
PASSWD = """{rest}
postfix:x:61001:61001::/nonexistent:/usr/sbin/nologin
Debian-exim:x:61002:61002::/nonexistent:/usr/sbin/nologin
"""
GROUP = """{rest}
postfix:x:61001:
postdrop:x:61003:
Debian-exim:x:61002:
"""


def require() -> None:
    """Skip the test when the servers are not there; in CI that is a failure."""
    if (FOLDER / "complete").exists() and os.geteuid() == 0:
        return
    reason = f"needs root and the mail servers in {FOLDER}: run tests/smtp/servers.sh"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass(frozen=True)
class RealServer:
    """Ports that require TLS to log in, and where to look for what was taken."""

    plain: int  # STARTTLS offered
    implicit: int
    taken: Path  # holds a file for each message

    def numbers(self, count: int) -> list[int]:
        """Which messages were taken, once there are ``count`` of them (or after ten seconds)."""
        for _ in range(200):
            found = self._numbers()
            if len(found) >= count:
                break
            time.sleep(0.05)
        return sorted(found)

    def _numbers(self) -> list[int]:
        contents = [path.read_bytes() for path in self.taken.rglob("*") if path.is_file()]
        found = [re.search(rb"X-Number: (\d+)", content) for content in contents]
        return [int(each[1]) for each in found if each]


def environment(folder: Path) -> dict[str, str]:
    """What lets unpacked programs find their libraries, and users that exist only for them."""
    libraries = sorted({str(path.parent) for path in ROOT.rglob("*.so*")})
    for name, template in (("passwd", PASSWD), ("group", GROUP)):
        rest = Path(f"/etc/{name}").read_text().strip()
        (folder / name).write_text(template.format(rest=rest))
    wrapper = next(ROOT.rglob("libnss_wrapper.so"))
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LD_LIBRARY_PATH": ":".join(libraries),
        "LD_PRELOAD": str(wrapper),
        "NSS_WRAPPER_PASSWD": str(folder / "passwd"),
        "NSS_WRAPPER_GROUP": str(folder / "group"),
        "SASL_PATH": str(next(ROOT.rglob("sasl2/libsasldb.so")).parent),
    }


def certificate(authority: trustme.CA, folder: Path) -> Path:
    """A file with key and certificate for 127.0.0.1 and localhost, readable by all."""
    path = folder / "server.pem"
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(path)
    )
    path.chmod(0o644)
    return path


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def running(
    command: Sequence[str | Path], env: dict[str, str], port: int, log: Path
) -> Iterator[None]:
    """A server in the foreground, ended with all its children."""
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=env, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait_for(port, process, log)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"no server on port {port}: {log.read_text()}")


POSTFIX_MAIN = """
compatibility_level = 3.6
config_directory = {folder}/etc
queue_directory = {folder}/spool
data_directory = {folder}/data
daemon_directory = {root}/usr/lib/postfix/sbin
command_directory = {root}/usr/sbin
shlib_directory = no
maillog_file = {folder}/log
maillog_file_prefixes = /
import_environment = MAIL_CONFIG MAIL_LOGTAG POSTLOG_SERVICE POSTLOG_HOSTNAME PATH
  LD_LIBRARY_PATH LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP SASL_PATH
myhostname = postfix.example
mydestination =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks =
smtpd_peername_lookup = no
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access inline:{{
  {{bad@example.net = 550 5.1.1 Nobody of that name}} {{slow@example.net = 450 4.2.1 Come back}}}}
virtual_mailbox_domains = example.net
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:61001
virtual_gid_maps = static:61001
message_size_limit = 100000
smtpd_tls_security_level = may
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {certificate}
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_local_domain = postfix.example
smtpd_client_connection_count_limit = 0
"""
POSTFIX_MASTER = """
127.0.0.1:{plain} inet n - n - - smtpd
127.0.0.1:{implicit} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
virtual unix - n n - - virtual
error unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
proxymap unix - - n - - proxymap
"""
QUEUES = (
    "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private",
    "saved", "trace",
)  # fmt: skip
SASL = """
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {folder}/etc/sasl/db
mech_list: PLAIN LOGIN CRAM-MD5
"""


@contextmanager
def postfix(folder: Path, authority: trustme.CA) -> Iterator[RealServer]:
    plain, implicit = free_ports(2)
    env = environment(folder)
    names = {
        "folder": folder, "root": ROOT, "certificate": certificate(authority, folder),
        "plain": plain, "implicit": implicit,
    }  # fmt: skip
    for name in ("etc", "etc/sasl", "spool", "data", "mail"):
        (folder / name).mkdir()
    (folder / "etc/main.cf").write_text(POSTFIX_MAIN.format(**names))
    (folder / "etc/master.cf").write_text(POSTFIX_MASTER.format(**names))
    (folder / "etc/sasl/smtpd.conf").write_text(SASL.format(**names))
    for name in ("data", "mail"):
        os.chown(folder / name, 61001, 61001)
    _make_queues(folder / "spool")
    _add_user(folder / "etc/sasl/db", env)
    master = ROOT / "usr/lib/postfix/sbin/master"
    with running([master, "-c", folder / "etc", "-d"], env, plain, folder / "output"):
        yield RealServer(plain, implicit, folder / "mail")


def _make_queues(spool: Path) -> None:
    """The folders that `postfix start` would make."""
    for name in QUEUES:
        (spool / name).mkdir(mode=0o700)
        os.chown(spool / name, 61001, 0)
    for name, mode in (("maildrop", 0o730), ("public", 0o710)):
        (spool / name).mkdir(mode=mode)
        os.chown(spool / name, 61001, 61003)
    (spool / "pid").mkdir()


def _add_user(database: Path, env: dict[str, str]) -> None:
    tool = ROOT / "usr/sbin/saslpasswd2"
    subprocess.run(
        [tool, "-p", "-c", "-f", database, "-u", "postfix.example", USERNAME],
        env=env,
        input=PASSWORD.encode(),
        check=True,
    )
    database.chmod(0o644)


EXIM = """
primary_hostname = exim.example
spool_directory = {folder}/spool
log_file_path = {folder}/log-%s
pid_file_path = {folder}/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {plain} : {implicit}
tls_on_connect_ports = {implicit}
tls_advertise_hosts = *
tls_certificate = {certificate}
tls_privatekey = {certificate}
auth_advertise_hosts = ${{if def:tls_in_cipher {{*}}}}
chunking_advertise_hosts = *
message_size_limit = 100000
queue_only
acl_smtp_rcpt = recipient
rfc1413_hosts =
host_lookup =
keep_environment =
domainlist local = example.net
begin acl
recipient:
  deny message = 5.1.1 Nobody of that name
       local_parts = bad
  defer message = 4.2.1 Come back
       local_parts = slow
  accept domains = +local
  deny message = 5.7.1 No relaying
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{user}}}}}{{eq{{$auth3}}{{{word}}}}}}}}}
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if and{{{{eq{{$auth1}}{{{user}}}}}{{eq{{$auth2}}{{{word}}}}}}}}}
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = {word}
begin routers
none:
  driver = redirect
  data = :blackhole:
"""


@contextmanager
def exim(folder: Path, authority: trustme.CA) -> Iterator[RealServer]:
    plain, implicit = free_ports(2)
    env = environment(folder)
    config = folder / "exim.conf"
    config.write_text(
        EXIM.format(
            folder=folder, certificate=certificate(authority, folder), plain=plain,
            implicit=implicit, user=USERNAME, word=PASSWORD,
        )
    )  # fmt: skip
    (folder / "spool").mkdir()
    os.chown(folder, 61002, 61002)
    os.chown(folder / "spool", 61002, 61002)
    with running([ROOT / "usr/sbin/exim4", "-bdf", "-C", config], env, plain, folder / "output"):
        yield RealServer(plain, implicit, folder / "spool/input")
