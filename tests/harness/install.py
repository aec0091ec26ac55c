"""Gets the third-party clients: from PyPI, npm and Debian, into the project's target folder.

Every function returns None when the client is there, or one line that says why it is not.
"""

import functools
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

#: Seconds that one installation may take.
DEADLINE = 600

#: The target of firmware.
ARM = "thumbv7em-none-eabi"

#: Names that the browser goes by.
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def python(root):
    """A virtual environment with the clients of tests/python/requirements.txt."""
    requirements = root / "tests" / "python" / "requirements.txt"
    folder = _folder(root) / "venv"
    if _is_current(folder, requirements):
        return None
    shutil.rmtree(folder, ignore_errors=True)
    problem = _run([sys.executable, "-m", "venv", str(folder)])
    if problem and _apt("python3-venv") is None:
        problem = _run([sys.executable, "-m", "venv", "--clear", str(folder)])
    if problem:
        return f"no virtual environment ({problem})"
    pip = [str(venv_python(root)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    problem = _run(pip + ["--requirement", str(requirements)])
    if problem:
        return f"pip could not install the clients ({problem})"
    _mark_current(folder, requirements)
    return None


def venv_python(root):
    """The interpreter of the virtual environment."""
    return _folder(root) / "venv" / "bin" / "python"


def node(root):
    """MQTT.js as tests/node/package-lock.json has it."""
    return _npm(root / "tests" / "node", node_folder(root), "MQTT.js")


def oauth(root):
    """An OpenID provider as tests/oauth/package-lock.json has it."""
    return _npm(root / "tests" / "oauth", oauth_folder(root), "oidc-provider")


def _npm(source, folder, what):
    lock = source / "package-lock.json"
    if not (shutil.which("node") and shutil.which("npm")):
        problem = _apt("nodejs", "npm")
        if problem:
            return f"node and npm are not installed ({problem})"
    if _is_current(folder, lock):
        return None
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(source / name, folder / name)
    problem = _run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder)
    if problem:
        return f"npm could not install {what} ({problem})"
    _mark_current(folder, lock)
    return None


def node_folder(root):
    """Where node_modules is."""
    return _folder(root) / "node"


def oauth_folder(root):
    """Where node_modules of the OpenID provider is."""
    return _folder(root) / "oauth"


def debian(_root):
    """mosquitto_pub, mosquitto_sub and mosquitto_rr; the package starts no service."""
    tools = ("mosquitto_pub", "mosquitto_sub", "mosquitto_rr")
    if all(shutil.which(tool) for tool in tools):
        return None
    problem = _apt("mosquitto-clients")
    return f"mosquitto-clients is not installed ({problem})" if problem else None


def mosquitto(_root):
    """Debian's broker, which is only used where somebody has installed it: the package starts a service."""
    missing = [name for name in ("mosquitto", "mosquitto_passwd") if not mosquitto_program(name)]
    return f"Debian's package mosquitto is not installed: no {' and no '.join(missing)}" if missing else None


def mosquitto_program(name):
    """The path of a program of that package; None without it."""
    return _program(name)


def tools(root):
    """Debian's tools; and a name server and the shells whose completions are tried, also by tests in Rust,
    without which these are left out."""
    dnsmasq()
    for shell in ("fish", "zsh"):
        debian_tool(shell, shell)
    return debian(root)


def dnsmasq():
    """A name server of Debian; its package has the program and starts no service."""
    if dnsmasq_program():
        return None
    problem = _apt("dnsmasq-base")
    return f"dnsmasq is not installed ({problem})" if problem else None


def dnsmasq_program():
    """Its path; None without it."""
    return _program("dnsmasq")


def _program(name):
    """A program that only administrators may have in their path."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin")


def tls(root):
    """paho, MQTT.js, the tools of Debian and openssl; without HAProxy or nginx a test is skipped."""
    problems = [install(root) for install in (python, node, debian)]
    problems.append(debian_tool("openssl", "openssl"))
    debian_tool("haproxy", "haproxy")
    nginx(root)
    return next((problem for problem in problems if problem), None)


def browser(root):
    """Chromium, and what the tests of TLS need."""
    problem = next((problem for problem in (python(root), node(root)) if problem), None)
    problem = problem or debian_tool("openssl", "openssl")
    if problem or any(map(shutil.which, CHROMIUM)):
        return problem
    problem = _apt("chromium")
    return f"no browser is installed ({problem})" if problem else None


def psk(root):
    """What a broker with TLS-PSK is built from, and what speaks to it. The tests build it themselves, so
    that a build that fails is a failure."""
    problem = debian(root) or debian_tool("openssl", "openssl")
    if problem:
        return problem
    if not shutil.which("cargo"):
        return "cargo is not installed, so a broker with TLS-PSK cannot be built"
    if _run(["pkg-config", "--exists", "openssl"]) is not None:
        problem = _apt("libssl-dev", "pkg-config")
        if problem:
            return f"the headers of OpenSSL are not installed ({problem})"
    problem = _run(["cargo", "fetch", "--quiet", "--locked"], cwd=root)
    return f"the crates for OpenSSL are not there ({problem})" if problem else None


def board(root):
    """A board in an emulator, a compiler for it, and a client to talk with."""
    problem = arm(root) or python(root)
    return problem or debian_tool("qemu-system-arm", "qemu-system-arm")


def arm(root):
    """A compiler for ARM as crates/embedded/cargo-arm.sh takes it: the one that is there, if it can, or
    Debian's with its sources, unpacked and not installed: it would stand in the way of rustup's."""
    folder = _folder(root) / "arm"
    if (folder / "usr" / "bin" / "rustc").exists() or _compiles_for_arm():
        return None
    if _run(["rustup", "target", "add", ARM]) is None:
        return None
    if not shutil.which("apt-get"):
        return f"no compiler for ARM: rustup target add {ARM}"
    if os.geteuid() == 0:
        _update_package_lists()
    shutil.rmtree(folder, ignore_errors=True)
    unpacked = folder / "unpacking"
    unpacked.mkdir(parents=True)
    packages = ["rustc-web", "rust-web-src", "libstd-rust-web-dev", *_depends("libstd-rust-web-dev", "libstd-rust-web-")]
    packages += _depends(packages[-1], "libllvm")
    problem = _run(["apt-get", "download", *packages], cwd=unpacked)
    for package in unpacked.glob("*.deb"):
        what = "./usr/src/*/library" if package.name.startswith("rust-web-src") else "./usr"
        extract = f"dpkg --fsys-tarfile {package} | tar --extract --wildcards --directory {unpacked} '{what}'"
        problem = problem or _run(["sh", "-c", extract])
        package.unlink()
    if problem is None:
        sources = next((unpacked / "usr" / "src").glob("rustc-*"))
        link = unpacked / "usr" / "lib" / "rustlib" / "src" / "rust"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(pathlib.Path("../../../src") / sources.name)
        # Whole, or not there.
        (unpacked / "usr").rename(folder / "usr")
    shutil.rmtree(unpacked)
    return f"a compiler for ARM could not be unpacked ({problem})" if problem else None


def _compiles_for_arm():
    """Whether the compiler has core for ARM, or its own sources."""
    try:
        sysroot = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    folder = pathlib.Path(sysroot.strip()) / "lib" / "rustlib"
    return (folder / ARM).exists() or (folder / "src" / "rust" / "library" / "core").exists()


def _depends(package, prefix):
    """Packages of such a name that a Debian package needs."""
    result = subprocess.run(["apt-cache", "depends", package], capture_output=True, text=True, check=False)
    names = (line.removeprefix("  Depends: ") for line in result.stdout.splitlines() if line.startswith("  Depends: "))
    return [name for name in names if name.startswith(prefix)]


def nginx(root):
    """nginx of Debian, unpacked and not installed: the package would start a service on port 80."""
    folder = nginx_folder(root)
    if (folder / "usr" / "sbin" / "nginx").exists():
        return None
    if not shutil.which("apt-get"):
        return "nginx comes from Debian's packages"
    if os.geteuid() == 0:
        _update_package_lists()
    folder.mkdir(parents=True, exist_ok=True)
    problem = _run(["apt-get", "download", "nginx", "libnginx-mod-stream"], cwd=folder)
    for package in folder.glob("*.deb"):
        problem = problem or _run(["dpkg", "--extract", str(package), str(folder)])
    return f"nginx could not be unpacked ({problem})" if problem else None


def nginx_folder(root):
    """Where nginx is."""
    return _folder(root) / "nginx"


def crash(root):
    """What the parts of the kill harness use; a part that misses something says so itself."""
    for install in (python, debian):
        install(root)
    debian_tool("strace", "strace")


def debian_tool(program, package):
    """One program of a Debian package."""
    if shutil.which(program):
        return None
    problem = _apt(package)
    return f"{program} is not installed ({problem})" if problem else None


def _folder(root):
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or root / "target")
    return target / "third-party"


def _stamp(folder):
    return folder / "installed"


def _is_current(folder, description):
    """Whether `folder` was filled from the present text of `description`."""
    stamp = _stamp(folder)
    return stamp.exists() and stamp.read_text() == _fingerprint(description)


def _mark_current(folder, description):
    _stamp(folder).write_text(_fingerprint(description))


def _fingerprint(description):
    return hashlib.sha256(description.read_bytes() + sys.version.encode()).hexdigest()


def _apt(*packages):
    """Installs Debian packages where that needs nobody's permission."""
    if not shutil.which("apt-get"):
        return f"install {' '.join(packages)} to run these tests"
    if os.geteuid() != 0:
        return f"as root: apt-get install {' '.join(packages)}"
    _update_package_lists()
    arguments = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends"]
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    return _run(arguments + list(packages), env=environment)


@functools.cache
def _update_package_lists():
    # Old lists may do as well; the installation itself says what is wrong.
    _run(["apt-get", "update", "--quiet"])


def _run(arguments, **options):
    """Runs a program to its end; returns None, or the line that says what went wrong."""
    name = pathlib.Path(arguments[0]).name
    try:
        result = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DEADLINE,
            check=False,
            **options,
        )
    except subprocess.TimeoutExpired:
        return f"{name} took longer than {DEADLINE} s"
    except OSError as error:
        return f"{name}: {error.strerror}"
    if result.returncode == 0:
        return None
    lines = result.stdout.decode(errors="replace").strip().splitlines()
    complaints = [line for line in lines if "error" in line.lower()] or lines[-1:]
    return f"{name}: {complaints[0] if complaints else result.returncode}"
