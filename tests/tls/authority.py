"""A certificate authority of the tests, made with openssl."""

import pathlib
import subprocess

CONFIGURATION = """\
[ca]
default_ca = test
[test]
database = {folder}/index
serial = {folder}/serial
crlnumber = {folder}/crlnumber
new_certs_dir = {folder}
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
default_md = sha256
default_days = {days}
default_crl_days = 30
policy = any
unique_subject = no
[any]
countryName = optional
organizationName = optional
commonName = supplied
"""


class Authority:
    """Signs certificates into a folder of its own."""

    def __init__(self, folder, name, days=90):
        self.folder = pathlib.Path(folder) / name.replace(" ", "-")
        self.folder.mkdir()
        (self.folder / "index").write_text("")
        (self.folder / "serial").write_text("1000\n")
        (self.folder / "crlnumber").write_text("1000\n")
        self._configuration = self.folder / "ca.conf"
        self._configuration.write_text(CONFIGURATION.format(folder=self.folder, days=days))
        self.certificate = self.folder / "ca.pem"
        openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "90", "-subj", f"/CN={name}",
            "-keyout", self.folder / "ca.key", "-out", self.certificate,
        )

    def sign(self, file, subject, names=None, dates=()):
        """A certificate and its key; `names` are alternative names in openssl's words."""
        certificate = self.folder / f"{file}.pem"
        key = self.folder / f"{file}.key"
        request = self.folder / f"{file}.csr"
        extensions = self.folder / f"{file}.ext"
        # Without any extension openssl makes a certificate of X.509 version 1.
        text = "basicConstraints = CA:FALSE\n"
        extensions.write_text(text + (f"subjectAltName = {names}\n" if names else ""))
        openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", subject, "-keyout", key, "-out", request,
        )
        openssl(
            "ca", "-batch", "-notext", "-config", self._configuration, "-in", request,
            "-out", certificate, "-extfile", extensions, *dates,
        )
        return certificate, key

    def revoke(self, certificate):
        """Revokes a certificate."""
        openssl("ca", "-config", self._configuration, "-revoke", certificate)

    def revocation_list(self):
        """The list as it is now."""
        file = self.folder / "crl.pem"
        openssl("ca", "-config", self._configuration, "-gencrl", "-out", file)
        return file


def openssl(*arguments):
    """Runs openssl to its end."""
    result = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    if result.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]}: {result.stderr[-300:]}")
    return result.stdout
