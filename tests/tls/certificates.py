"""TLS listeners: versions, certificates of both sides, and files that change."""

import argparse
import os
import shutil
import signal
import ssl
import subprocess
import time

from authority import Authority
from harness.broker import find_binary, free_port
from harness.report import require, require_equal
from peers import (
    CONNECT,
    DEADLINE,
    DISCONNECT,
    ROOT,
    Listeners,
    await_that,
    echo,
    mqtt_works,
    paho,
    publish,
    run,
    s_client,
    serial,
    shows,
    tls_socket,
)


def versions(place):
    """Both versions, and none that is older."""
    only_13 = f"{place.certificates}tls_version tlsv1.3\n"
    with Listeners(tls=place.certificates, newest=only_13) as listeners:
        port = listeners.ports["tls"]
        for option, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
            status, text = s_client(port, option, "-CAfile", place.ca.certificate, "-verify_return_error")
            require_equal(status, 0, text[-300:])
            require(f"New, {name}" in text and "Verify return code: 0" in text, text)
        status, _ = s_client(port, "-tls1_1", "-cipher", "ALL@SECLEVEL=0")
        require(status != 0, "TLS 1.1 was let in")
        listeners.await_log("no shared TLS version")
        status, _ = s_client(listeners.ports["newest"], "-tls1_2")
        require(status != 0, "TLS 1.2 was let in although tls_version is tlsv1.3")
        status, text = s_client(listeners.ports["newest"], "-tls1_3")
        require_equal(status, 0, text)


def ciphers(place):
    """Lists in OpenSSL's language decide."""
    options = "ciphers ECDHE-ECDSA-CHACHA20-POLY1305\nciphers_tls1.3 TLS_AES_128_GCM_SHA256\n"
    with Listeners(tls=place.certificates + options) as listeners:
        port = listeners.ports["tls"]
        _, text = s_client(port, "-tls1_2")
        require("Cipher is ECDHE-ECDSA-CHACHA20-POLY1305" in text, text)
        _, text = s_client(port, "-tls1_3")
        require("Cipher is TLS_AES_128_GCM_SHA256" in text, text)


def tools(place):
    """mosquitto_pub and mosquitto_sub in both versions."""
    with Listeners(tls=place.certificates) as listeners:
        port = listeners.ports["tls"]
        for version in ("tlsv1.2", "tlsv1.3"):
            command = ["mosquitto_sub", "-h", "localhost", "-p", port, "--cafile", place.ca.certificate]
            command += ["--tls-version", version, "-t", f"tls/{version}", "-C", "1", "-q", "1", "-d"]
            before = listeners.log().count(f"1 tls/{version}")
            subscriber = subprocess.Popen(
                list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            await_that(lambda v=version, b=before: listeners.log().count(f"1 tls/{v}") > b, "a subscription")
            status, text = publish(port, place, "--tls-version", version, "-t", f"tls/{version}")
            require_equal(status, 0, text)
            text, _ = subscriber.communicate(timeout=DEADLINE)
            require("hello" in text, text)


def wrong_host(place):
    """A client that looks for another host goes away, and the broker says what it heard."""
    with Listeners(tls=place.certificates) as listeners:
        status, _ = publish(listeners.ports["tls"], place, host="127.0.0.1")
        require(status != 0, "the certificate is not for 127.0.0.1")
        status, text = publish(listeners.ports["tls"], place, "--insecure", host="127.0.0.1")
        require_equal(status, 0, text)


def mutual(place):
    """Certificates of clients: good ones come in, others do not, and the log says why."""
    with Listeners(tls=place.mutual) as listeners:
        port = listeners.ports["tls"]
        status, text = publish(port, place, *shows(place.device))
        require_equal(status, 0, text)
        for pair, words in (
            (place.revoked, "revoked"),
            (place.expired, "expired"),
            (place.stranger, "unknown CA"),
        ):
            status, _ = publish(port, place, *shows(pair))
            require(status != 0, f"the certificate that is {words} was let in")
            listeners.await_log(f"the peer's certificate: {words}")
        status, _ = publish(port, place)
        require(status != 0, "no certificate was let in")
        listeners.await_log("the peer did not provide a certificate")


def dates_ignored(place):
    """disable_client_cert_date_checks lets an expired certificate in, and a revoked one not."""
    options = f"{place.mutual}disable_client_cert_date_checks true\n"
    with Listeners(tls=options) as listeners:
        status, text = publish(listeners.ports["tls"], place, *shows(place.expired))
        require_equal(status, 0, text)
        status, _ = publish(listeners.ports["tls"], place, *shows(place.revoked))
        require(status != 0, "a revoked certificate was let in")


def authority_folder(place):
    """A capath with a file that openssl rehash has named."""
    folder = place.folder / "capath"
    folder.mkdir()
    shutil.copy(place.ca.certificate, folder / "ca.pem")
    status, text = run(["openssl", "rehash", folder])
    require_equal(status, 0, text)
    options = f"{place.certificates}capath {folder}\nrequire_certificate true\n"
    with Listeners(tls=options) as listeners:
        status, text = publish(listeners.ports["tls"], place, *shows(place.device))
        require_equal(status, 0, text)


def several_hosts(place):
    """Clients get the certificate of the host that they ask for."""
    other = place.ca.sign("other", "/CN=other", "DNS:broker.example.org,DNS:*.example.net")
    options = f"{place.certificates}additional_certificate {other[0]} {other[1]}\n"
    with Listeners(tls=options) as listeners:
        for host in ("localhost", "broker.example.org", "a.example.net"):
            mqtt_works(tls_socket(listeners.ports["tls"], place, host))
        try:
            tls_socket(listeners.ports["tls"], place, "elsewhere.example.org")
        except ssl.SSLCertVerificationError as error:
            require("localhost" in str(error) or "Hostname mismatch" in str(error), str(error))
        else:
            raise AssertionError("a certificate for a host that there is none for")


def user_names(place):
    """The user name is what the certificate says, whatever CONNECT does."""
    kinds = {
        "common": ("use_identity_as_username true\n", "device 7"),
        "subject": ("use_subject_as_username true\n", "CN=device 7,O=Example,C=DE"),
        "san": ("use_san_as_username uri\n", "urn:device:7"),
    }
    options = {name: place.mutual + option for name, (option, _) in kinds.items()}
    optional = place.mutual.replace("require_certificate true", "use_identity_as_username true")
    with Listeners(**options, optional=optional) as listeners:
        for name, (_, user) in kinds.items():
            login = ["-u", "somebody", "-P", "anything"]
            status, text = publish(listeners.ports[name], place, *shows(place.device), *login)
            require_equal(status, 0, text)
            listeners.await_log(f"u'{user}')")
        status, text = publish(listeners.ports["optional"], place, "-u", "device 7")
        require(status != 0 and "bad user name or password" in text, text)


def reload(place):
    """A certificate that changes is used for those who come from then on; a faulty one is not."""
    certificate, key = place.folder / "changing.pem", place.folder / "changing.key"
    shutil.copy(place.server[0], certificate)
    shutil.copy(place.server[1], key)
    second = place.ca.sign("second", "/CN=localhost", "DNS:localhost")
    third = place.ca.sign("third", "/CN=localhost", "DNS:localhost")
    options = f"certfile {certificate}\nkeyfile {key}\n"
    with Listeners(tls=options) as listeners:
        port = listeners.ports["tls"]
        with paho(port, place) as (client, came):
            first = serial(port, place)
            shutil.copy(second[1], key)
            shutil.copy(second[0], certificate)
            await_that(lambda: serial(port, place) != first, "the new certificate is used")
            echo(client, came, b"still here")
            now = serial(port, place)

            certificate.write_text("no certificate\n")
            listeners.await_log("no certificate in this file")
            time.sleep(5)
            require_equal(listeners.log().count("no certificate in this file"), 1, "told")
            require_equal(serial(port, place), now, "serial")
            os.kill(listeners.broker.pid, signal.SIGHUP)
            listeners.await_log("no certificate in this file", 2)
            require_equal(serial(port, place), now, "serial")

            shutil.copy(third[1], key)
            shutil.copy(third[0], certificate)
            await_that(lambda: serial(port, place) != now, "the third certificate is used")
            echo(client, came, b"and still")


def revoked_later(place):
    """A list that grows keeps out who is on it now, resumed sessions included; who is in stays."""
    ca = Authority(place.folder, "Growing CA")
    server = ca.sign("server", "/CN=localhost", "DNS:localhost")
    device = ca.sign("device", "/CN=device")
    crl = ca.revocation_list()
    options = f"certfile {server[0]}\nkeyfile {server[1]}\ncafile {ca.certificate}\ncrlfile {crl}\n"
    here = argparse.Namespace(ca=ca)
    with Listeners(tls=options + "require_certificate true\n") as listeners:
        port = listeners.ports["tls"]
        with paho(port, here, pair=device) as (client, came):
            session = place.folder / "session"
            shown = ["-cert", device[0], "-key", device[1], "-tls1_2"]
            status, text = s_client(port, *shown, "-sess_out", session)
            require_equal(status, 0, text)
            _, text = s_client(port, *shown, "-sess_in", session)
            require("Reused, TLSv1.2" in text, text)
            ca.revoke(device[0])
            ca.revocation_list()
            listeners.await_log("have changed and were read again")
            status, text = s_client(port, *shown, "-sess_in", session)
            require("Reused" not in text and status != 0, text)
            echo(client, came, b"still here")


def resumption(place):
    """Sessions are resumed after a restart, by seeds that only the owner can read."""
    state = place.folder / "state"
    state.mkdir()
    general = f"persistence true\npersistence_location {state}/\n"
    session = place.folder / "resumed"
    for version in ("-tls1_2", "-tls1_3"):
        with Listeners(general, tls=place.certificates) as listeners:
            keeps = [version, "-sess_out", session, "-ign_eof"]
            # The ticket of 1.3 comes behind the handshake; the broker closes after DISCONNECT.
            status, text = s_client(listeners.ports["tls"], *keeps, given=CONNECT + DISCONNECT)
            require_equal(status, 0, text)
        with Listeners(general, tls=place.certificates) as listeners:
            _, text = s_client(listeners.ports["tls"], version, "-sess_in", session)
            require("Reused, " in text, text[-900:])
    (seeds,) = state.rglob("midge-tls-tickets")
    require_equal(seeds.stat().st_mode & 0o777, 0o600, "mode")


def faulty_start(place):
    """What is wrong is told by file before anything runs, with the status of a faulty configuration."""
    binary = find_binary(ROOT)
    encrypted = place.folder / "encrypted.key"
    run(["openssl", "pkey", "-in", place.server[1], "-aes128", "-passout", "pass:x", "-out", encrypted])
    for certificate, key, words in (
        (place.server[0], encrypted, "the key is encrypted"),
        (place.server[0], place.device[1], "this is not the key of the certificate"),
        (place.folder / "nowhere.pem", place.server[1], "No such file"),
    ):
        configuration = place.folder / "faulty.conf"
        configuration.write_text(f"listener {free_port()} 127.0.0.1\ncertfile {certificate}\nkeyfile {key}\n")
        status, text = run([binary, "broker", "-c", configuration])
        require_equal(status, 3, text)
        require(words in text, text)


def key_log(place):
    """--tls-keylog writes what Wireshark reads, for its owner alone."""
    file = place.folder / "keys"
    port = free_port()
    configuration = place.folder / "keylog.conf"
    configuration.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n{place.certificates}")
    broker = subprocess.Popen(
        [str(find_binary(ROOT)), "broker", "-c", str(configuration), "--tls-keylog", str(file)],
        stderr=subprocess.DEVNULL,
    )
    try:
        await_that(lambda: s_client(port)[0] == 0, "the broker listens")
        await_that(lambda: "CLIENT_TRAFFIC_SECRET_0 " in file.read_text(), "a secret is written")
        require_equal(file.stat().st_mode & 0o777, 0o600, "mode")
    finally:
        broker.terminate()
        broker.wait(DEADLINE)


TESTS = [
    ("TLS versions", versions),
    ("TLS ciphers", ciphers),
    ("TLS mosquitto_pub and mosquitto_sub", tools),
    ("TLS wrong host name", wrong_host),
    ("TLS mutual", mutual),
    ("TLS dates ignored", dates_ignored),
    ("TLS capath", authority_folder),
    ("TLS several hosts", several_hosts),
    ("TLS user names", user_names),
    ("TLS certificates change", reload),
    ("TLS revoked later", revoked_later),
    ("TLS resumption after a restart", resumption),
    ("TLS faulty start", faulty_start),
    ("TLS key log", key_log),
]
