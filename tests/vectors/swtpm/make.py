#!/usr/bin/env python3
"""Make the vectors in ``ecc`` and ``rsa`` again, with swtpm, swtpm-tools and tpm2-tools. See README.md."""

import os
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
NONCE = bytes(range(32))
TAG = b"asset tag of 20 byte"
TAG_INDEX = "0x01c10110"
NV_READ_PUBLIC = "80010000000e0000016901c10110"  # TPM2_NV_ReadPublic of TAG_INDEX, without a session
PCRS = "sha1:0,1,2,3+sha256:0,7,9,23"
QUIET = {"TSS2_LOG": "all+none"}


def run(*command, **options):
    """Run one program; its standard output."""
    streams = {"stdout": subprocess.PIPE, "input": options.get("stdin")}
    environment = dict(os.environ, **QUIET)
    done = subprocess.run(command, check=True, env=environment, cwd=options.get("cwd"), **streams)
    if "cwd" in options:  # a program that loads keys, of which swtpm holds three
        run("tpm2_flushcontext", "-t")
    return done.stdout


def write(path, data):
    with open(path, "wb") as stream:
        stream.write(data)


def manufacture(state):
    """A TPM with EK certificates of a certificate authority made on the spot."""
    authority = os.path.join(state, "ca")
    os.mkdir(authority)
    files = "signingkey = {0}/key.pem\nissuercert = {0}/cert.pem\ncertserial = {0}/serial\n".format(authority)
    write(os.path.join(state, "localca.conf"), "statedir = {}\n{}".format(authority, files).encode())
    platform = b"--platform-manufacturer test\n--platform-version 1\n--platform-model 1\n"
    write(os.path.join(state, "localca.options"), platform)
    write(
        os.path.join(state, "setup.conf"),
        "create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = {0}/localca.conf\n"
        "create_certs_tool_options = {0}/localca.options\n".format(state).encode(),
    )
    setup = ["swtpm_setup", "--tpm2", "--create-ek-cert", "--pcr-banks", "sha1,sha256", "--tpmstate", state]
    run(*(setup + ["--config", os.path.join(state, "setup.conf")]))


def start(state, socket):
    server = "type=unixio,path={}".format(socket)
    control = "type=unixio,path={}.ctrl".format(socket)
    process = subprocess.Popen(
        ["swtpm", "socket", "--tpm2", "--tpmstate", "dir=" + state, "--server", server, "--ctrl", control]
        + ["--flags", "not-need-init,startup-clear"],
        stderr=subprocess.DEVNULL,
    )
    while not os.path.exists(socket + ".ctrl"):
        time.sleep(0.05)
    QUIET["TPM2TOOLS_TCTI"] = "swtpm:path=" + socket
    return process


def define_tag():
    attributes = "ownerwrite|ownerread|authread|no_da"
    run("tpm2_nvdefine", TAG_INDEX, "-C", "o", "-s", str(len(TAG)), "-a", attributes)
    run("tpm2_nvwrite", TAG_INDEX, "-C", "o", "-i", "-", stdin=TAG)


def vectors(work, target, algorithm, scheme, ek):
    """All vectors of one AK, into ``target``."""
    os.makedirs(target, exist_ok=True)

    def out(name):
        return os.path.join(target, name)

    make_keys(work, out, algorithm, scheme, ek)
    run("tpm2_pcrread", PCRS, "-o", out("pcrs.bin"))
    quote = ["tpm2_quote", "-c", "ak.ctx", "-l", PCRS, "-q", NONCE.hex(), "-g", "sha256"]
    run(*(quote + ["-m", out("quote.attest"), "-s", out("quote.signature"), "-f", "tss"]), cwd=work)
    write(out("quote.yaml"), run("tpm2_print", "-t", "TPMS_ATTEST", out("quote.attest")))
    certify = ["tpm2_nvcertify", "-C", "ak.ctx", "-c", "o", "-g", "sha256", "-f", "tss", "-q", NONCE.hex()]
    files = ["-o", out("nv.signature"), "--attestation", out("nv.attest")]
    run(*(certify + files + ["--size", str(len(TAG)), TAG_INDEX]), cwd=work)
    answer = run("tpm2_send", stdin=bytes.fromhex(NV_READ_PUBLIC))
    size = 2 + int.from_bytes(answer[10:12], "big")
    write(out("nv.public"), answer[10 : 10 + size])
    write(out("nv.name"), answer[10 + size + 2 :])
    write(os.path.join(work, "secret"), b"the secret of the challenge")
    with open(out("ak.name"), "rb") as stream:
        name = stream.read().hex()
    challenge = ["tpm2_makecredential", "-T", "none", "-u", out("ek.tpm2b"), "-s", "secret", "-n", name]
    run(*(challenge + ["-o", out("credential")]), cwd=work)


def make_keys(work, out, algorithm, scheme, ek):
    attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign"
    run("tpm2_createek", "-G", ek, "-c", "ek.ctx", "-u", out("ek.tpm2b"), "-f", "tss", cwd=work)
    run("tpm2_readpublic", "-c", "ek.ctx", "-f", "pem", "-o", out("ek.pem"), cwd=work)
    primary = ["tpm2_createprimary", "-C", "e", "-g", "sha256", "-G", "{}:{}:null".format(algorithm, scheme)]
    run(*(primary + ["-a", attributes, "-c", "ak.ctx"]), cwd=work)
    read = ["tpm2_readpublic", "-c", "ak.ctx"]
    names = ["-n", out("ak.name"), "-q", out("ak.qualified_name")]
    run(*(read + ["-f", "tss", "-o", out("ak.tpm2b")] + names), cwd=work)
    run(*(read + ["-f", "pem", "-o", out("ak.pem")]), cwd=work)


def main():
    """Make everything in a temporary directory's TPM."""
    work = tempfile.mkdtemp(prefix="vectors")  # short: a socket's path has to fit into 108 bytes
    try:
        manufacture(work)
        process = start(work, os.path.join(work, "tpm.sock"))
        try:
            for index, digest in ((0, "sha1={}".format("11" * 20)), (7, "sha256={}".format("22" * 32))):
                run("tpm2_pcrextend", "{}:{}".format(index, digest))
            define_tag()
            vectors(work, os.path.join(HERE, "ecc"), "ecc256", "ecdsa-sha256", "ecc")
            vectors(work, os.path.join(HERE, "rsa"), "rsa2048", "rsassa-sha256", "rsa")
            run("tpm2_nvread", "0x01c00002", "-C", "o", "-o", os.path.join(HERE, "rsa", "ek.certificate"))
            for folder, _, names in os.walk(HERE):
                for name in names:
                    os.chmod(os.path.join(folder, name), 0o644)
        finally:
            process.terminate()
            process.wait()
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    sys.exit(main())
