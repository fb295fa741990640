#!/usr/bin/env python3
"""Makes signed/: a small directory, throw-away keys, and signatures over it by the reference implementation.

    pip install model-signing pyOpenSSL
    python3 tests/golden/make_signed.py

model/          what is signed; names chosen so that the order matters ("sub/a.txt", "sub-notes.txt", "sub.txt")
p256 p384 p521  .key.pem, .pub.pem: keys for tests and nothing else; leaf.key.pem, leaf.pem, ca.pem, other-ca.pem
accept-*.sig    made by `model_signing sign`; both sides accept them
refuse-*.sig    well-formed statements, rightly signed with the P-256 key, that ours must refuse. refuse.txt: the
                file, whether the reference accepts it, and what our message says.

ECDSA draws a random number, so each run gives other signatures. The keys are kept if they are there.
"""
import base64, hashlib, json, os, shutil, subprocess, sys, tempfile
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "signed")
model = os.path.join(here, "model")
cli = os.path.join(os.path.dirname(sys.executable), "model_signing")
files = {"config.json": b"{}\n", "empty.bin": b"", "model.gguf": b"GGUF or so\n", "sub/a.txt": b"a\n",
         "sub-notes.txt": b"notes\n", "sub.txt": b"sub\n"}
usual = [".git", ".gitattributes", ".github", ".gitignore", "model.sig"]


def run(*args, **kw):
    return subprocess.run(args, check=True, capture_output=True, cwd=here, **kw)


def keys():
    for name, curve in (("p256", "prime256v1"), ("p384", "secp384r1"), ("p521", "secp521r1")):
        if not os.path.exists(f"{here}/{name}.key.pem"):
            run("openssl", "ecparam", "-name", curve, "-genkey", "-noout", "-out", f"{name}.key.pem")
        run("openssl", "ec", "-in", f"{name}.key.pem", "-pubout", "-out", f"{name}.pub.pem")
    if os.path.exists(f"{here}/leaf.pem"):
        return
    day = ["-days", "36500"]
    for ca in ("ca", "other-ca"):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
            "/dev/null" if ca == "other-ca" else "ca.tmp", "-out", f"{ca}.pem", "-subj", f"/CN=Recast test {ca}", *day)
    for leaf, usage in (("leaf", "digitalSignature"), ("useless", "keyAgreement")):
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
            f"{leaf}.key.pem", "-out", "leaf.tmp", "-subj", f"/CN=Recast test {leaf}")
        with tempfile.NamedTemporaryFile("w", suffix=".cnf") as ext:
            ext.write(f"keyUsage=critical,{usage}\nbasicConstraints=CA:FALSE\n")
            ext.flush()
            run("openssl", "x509", "-req", "-in", "leaf.tmp", "-CA", "ca.pem", "-CAkey", "ca.tmp", "-CAcreateserial",
                "-out", f"{leaf}.pem", "-extfile", ext.name, *day)
    for junk in ("ca.tmp", "leaf.tmp", "ca.srl"):
        if os.path.exists(f"{here}/{junk}"):
            os.remove(f"{here}/{junk}")


def reference():
    for name in ("p256", "p384", "p521"):
        run(cli, "sign", "key", "model", "--signature", f"accept-{name}.sig", "--private_key", f"{name}.key.pem")
    run(cli, "sign", "certificate", "model", "--signature", "accept-certificate.sig", "--private_key", "leaf.key.pem",
        "--signing_certificate", "leaf.pem", "--certificate_chain", "ca.pem")


def digest(name):
    return hashlib.sha256(files[name]).hexdigest()


def statement(names, ignored=usual, root=None, extra=None, serialization=None):
    root = root or hashlib.sha256(b"".join(bytes.fromhex(d) for _, d in names)).hexdigest()
    s = {"_type": "https://in-toto.io/Statement/v1", "subject": [{"name": "model", "digest": {"sha256": root}}],
         "predicateType": "https://model_signing/signature/v1.0",
         "predicate": {"serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False,
                                         "ignore_paths": ignored, **(serialization or {})},
                       "resources": [{"name": n, "algorithm": "sha256", "digest": d} for n, d in names]}}
    s.update(extra or {})
    return s


def bundle(payload, hint=None, extra=None, key="p256"):
    private = serialization.load_pem_private_key(open(f"{here}/{key}.key.pem", "rb").read(), None)
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    kind = b"application/vnd.in-toto+json"
    sig = private.sign(b"DSSEv1 %d %s %d " % (len(kind), kind, len(body)) + body, ec.ECDSA(hashes.SHA256()))
    hint = hint or hashlib.sha256(open(f"{here}/{key}.pub.pem", "rb").read()).hexdigest()
    b = {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
         "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
         "dsseEnvelope": {"payload": base64.b64encode(body).decode(), "payloadType": kind.decode(),
                          "signatures": [{"sig": base64.b64encode(sig).decode(), "keyid": ""}]}}
    b.update(extra or {})
    return b


def refusals():
    names = [(n, digest(n)) for n in sorted(files, key=lambda n: n.split("/"))]
    twice = names[:1] + [(names[0][0], "0" * 64)] + names  # the last one wins in the reference
    good = bundle(statement(names))
    cut = json.loads(json.dumps(good))
    cut["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(b"0" * 70).decode()
    two = json.loads(json.dumps(good))
    two["dsseEnvelope"]["signatures"] *= 2
    doubled = json.dumps(statement(names)).replace('"subject"', '"_type": "x", "subject"', 1).encode()
    return {
        "twice": (bundle(statement(twice)), "signed twice"),
        "order": (bundle(statement(names[::-1])), "out of order"),
        "ignored": (bundle(statement(names[1:], usual + ["config.json"])), 'leaves out "config.json"'),
        "dotdot": (bundle(statement([("../model/config.json", names[0][1])] + names[1:])), 'part ".."'),
        "absolute": (bundle(statement([("/etc/passwd", names[0][1])] + names)), "is absolute"),
        "root": (bundle(statement(names, root="0" * 64)), "hash over all its files"),
        "hint": (bundle(statement(names), hint="0" * 64), "made with key 0000"),
        "signature": (cut, "is not that of key"),
        "two-signatures": (two, "exactly one signature"),
        "member": (bundle(statement(names), extra={"extra": 1}), "a member that"),
        "links": (bundle(statement(names, serialization={"allow_symlinks": True})), "allows symbolic links"),
        "shards": (bundle(statement(names, serialization={"method": "shards"})), "not hashed whole"),
        "predicate": (bundle(statement(names, extra={"predicateType": "https://slsa.dev/provenance/v1"})), "predicate"),
        "two-subjects": (bundle(statement(names, extra={"subject": [{"name": "a", "digest": {"sha256": "0" * 64}}] * 2})),
                         "exactly one subject"),
        "doubled-key": (bundle(doubled), "twice"),
        "empty": (bundle(statement([])), "signs no file"),
        "media-type": (bundle(statement(names), extra={"mediaType": "application/vnd.dev.sigstore.bundle.v0.2+json"}),
                       "media type"),
    }


def main():
    shutil.rmtree(model, ignore_errors=True)
    for name, data in files.items():
        path = os.path.join(model, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        open(path, "wb").write(data)
    keys()
    reference()
    with open(f"{here}/refuse.txt", "w") as table:
        for name, (b, message) in refusals().items():
            path = f"refuse-{name}.sig"
            with open(f"{here}/{path}", "w") as f:
                json.dump(b, f)
            done = subprocess.run([cli, "verify", "key", "model", "--signature", path, "--public_key", "p256.pub.pem"],
                                  cwd=here, capture_output=True)
            table.write(f"{path}\t{'accepts' if done.returncode == 0 else 'refuses'}\t{message}\n")


main()
