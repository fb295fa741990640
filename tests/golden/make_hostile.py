#!/usr/bin/env python3
"""Makes hostile/: archives of a package that unpacking must refuse, each with one thing wrong, and good ones.

    python3 tests/golden/make_hostile.py        (needs the zstd program)

table.txt: the file, and what the message must say ("-": it is accepted). The package is four small files; its "model" is
no model, which unpacking doesn't ask.
"""
import hashlib, io, json, os, struct, subprocess, tarfile, zipfile, zlib

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hostile")
files = {"README.md": b"# x\n", "recipe.json": b"{}\n", "x.gguf": b"GGUF" + bytes(range(28)), "hf/config.json": b"{}\n"}
table = []


def manifest(content=files, extra=()):
    entries = [{"path": p, "size": len(d), "sha256": hashlib.sha256(d).hexdigest()} for p, d in content.items()]
    entries = sorted(entries + list(extra), key=lambda e: e["path"].encode())
    return json.dumps({"manifest": 1, "name": "x", "base": {"files": []}, "overrides": [], "recipe": "recipe.json",
                       "artifacts": [{"path": "x.gguf", "format": "gguf", "type": "bf16", "tensors": 0, "lossless": False}],
                       "generations": [], "files": entries}).encode()


def members(content=files, m=None, **more):
    return [("manifest.json", m or manifest())] + list(content.items()) + [(k, v) for k, v in more.items()]


# ---- zip ----

def zip_entry(name, mode=0o100644, method=zipfile.ZIP_STORED):
    z = zipfile.ZipInfo(name, (1980, 1, 1, 12, 0, 0))
    z.create_system, z.external_attr, z.compress_type = 3, mode << 16, method
    return z


def make_zip(name, list_of, message, change=lambda b: b, **kinds):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as z:
        for path, content in list_of:
            z.writestr(zip_entry(path, **kinds.get(path, {})), content)
    put(name, change(data.getvalue()), message)


def put(name, data, message):
    with open(os.path.join(here, name), "wb") as f:
        f.write(data)
    table.append((name, message))


def patched(old, new, count=-1):
    assert len(old) == len(new)
    return lambda b: b.replace(old, new, count)


def second(b, old, new):
    """The first is in manifest.json, the second in README.md's local header."""
    at = b.index(old, b.index(old) + 1)
    return b[:at] + new + b[at + len(new):]


def overlapping(b):
    """The local header and data of x.gguf serve a second, larger entry, as in Fifield's zip bombs."""
    end = b.rindex(b"PK\5\6")
    at, = struct.unpack("<I", b[end + 16:end + 20])
    directory, big = b[at:end], 1 << 30
    central = bytearray(directory[:directory.index(b"PK\1\2", 4)])
    central[20:28] = struct.pack("<II", big, big)
    n, = struct.unpack("<H", b[end + 10:end + 12])
    directory += bytes(central)
    tail = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, n + 1, n + 1, len(directory), at, 0)
    return b[:at] + directory + tail


def zips():
    evidence = {p: d for p, d in files.items() if not p.endswith(".gguf")}
    make_zip("good.zip", members(evidence), "-")
    make_zip("all-in-one.zip", members(), "-")
    for name, path, why in (("slip.zip", "../evil", 'part ".."'), ("deep-slip.zip", "hf/../../evil", 'part ".."'),
                            ("absolute.zip", "/tmp/evil", "is absolute"), ("backslash.zip", "..\\evil", "backslash"),
                            ("drive.zip", "C:evil", "colon"), ("dot.zip", "./README.md", 'part "."'),
                            ("empty-part.zip", "hf//config.json", "empty part")):
        make_zip(name, members(evidence) + [(path, b"evil\n")], why)
    make_zip("unlisted.zip", members(evidence) + [("evil.py", b"evil\n")], "evil.py is not in the archive's manifest")
    make_zip("link.zip", members(evidence), "is a symbolic link", **{"README.md": {"mode": 0o120777}})
    make_zip("device.zip", members(evidence), "no regular file", **{"README.md": {"mode": 0o020666}})
    make_zip("directory.zip", members(evidence) + [("hf/", b"")], "is a directory", **{"hf/": {"mode": 0o040755}})
    make_zip("deflated.zip", members(evidence), "is compressed", **{"README.md": {"method": zipfile.ZIP_DEFLATED}})
    make_zip("late-manifest.zip", members(evidence)[1:] + members(evidence)[:1], "begins with README.md")
    make_zip("twice.zip", members(evidence) + [("README.md", b"# y\n")], "")  # libzip or we: either may see it first
    make_zip("incomplete.zip", members({k: v for k, v in evidence.items() if k != "hf/config.json"}),
             "hf/config.json is in the manifest and not in the archive")
    make_zip("changed.zip", members({**evidence, "README.md": b"# y\n"}), "README.md has SHA-256")
    make_zip("longer.zip", members({**evidence, "README.md": b"# xx\n"}), "README.md has 5 bytes, the manifest says 4")
    make_zip("damaged.zip", members(evidence), "", patched(b"# x\n", b"# z\n"))
    make_zip("other-name.zip", members(evidence), "", lambda b: second(b, b"README.md", b"README.mx"))
    make_zip("overlap.zip", members(), "", overlapping)
    make_zip("cut.zip", members(evidence), "", lambda b: b[:len(b) // 2])
    make_zip("no-manifest.zip", list(evidence.items()), "begins with README.md")
    poison = manifest(evidence, [{"path": "../evil", "size": 1, "sha256": "0" * 64}])
    make_zip("poisoned-path.zip", members(evidence, poison), 'part ".."')
    poison = manifest(files, [{"path": "zeros.bin", "size": 1 << 50, "sha256": "0" * 64}])
    make_zip("poisoned-size.zip", members(evidence, poison), "--max-size")
    poison = manifest(evidence, [{"path": "README.md/x", "size": 0, "sha256": hashlib.sha256(b"").hexdigest()},
                                 {"path": "x.gguf", "size": 1, "sha256": "0" * 64}])
    make_zip("file-and-directory.zip", members({**evidence, "README.md/x": b""}, poison), "")
    make_zip("poisoned-json.zip", members(evidence, manifest()[:-1] + b',"name":"y"}'), "twice")


# ---- tar.zst ----

def tar_entry(path, content, kind=tarfile.REGTYPE, size=None, link=""):
    t = tarfile.TarInfo(path)
    t.type, t.size, t.linkname = kind, len(content) if size is None else size, link
    return t.tobuf(tarfile.USTAR_FORMAT) + content + b"\0" * (-len(content) % 512)


def compress(data, *args):
    return subprocess.run(["zstd", "-q", "-c", *args], input=data, capture_output=True, check=True).stdout


def make_tar(name, entries, message, tail=b"\0" * 1024, change=lambda b: b):
    put(name, change(compress(b"".join(entries) + tail)), message)


def plain(list_of):
    return [tar_entry(p, d) for p, d in list_of]


def planes(d, how=1):
    """One block: docs/packaging.md."""
    if not how:
        return b"\0" + d
    words = [int.from_bytes(d[i:i + 2], "little") for i in range(0, len(d) - 1, 2)]
    words = [(w << 1 | w >> 15) & 0xFFFF for w in words]
    return bytes([how]) + bytes(w >> 8 for w in words) + bytes(w & 255 for w in words) + (d[-1:] if len(d) % 2 else b"")


def tars():
    m = manifest()
    good, first = plain(members()), [tar_entry("manifest.json", m)]
    rest = plain(files.items())
    without = plain((p, d) for p, d in files.items() if p != "x.gguf")
    make_tar("good.tar.zst", good, "-")
    pax = b"18 path=README.md\n"
    make_tar("pax.tar.zst", first + [tar_entry("pax", pax, tarfile.XHDTYPE), tar_entry("r", files["README.md"])] + rest[1:], "-")
    for how in (0, 1):
        make_tar(f"planes-{how}.tar.zst", first + without + [tar_entry("x.gguf.planes", planes(files["x.gguf"], how))], "-")
    make_tar("planes-2.tar.zst", first + without + [tar_entry("x.gguf.planes", b"\2" + files["x.gguf"])], "a block says 2")
    make_tar("planes-twice.tar.zst", good + [tar_entry("x.gguf.planes", planes(files["x.gguf"]))], "twice")
    make_tar("planes-empty.tar.zst", first + without + [tar_entry("x.gguf.planes", b"\0")], "no file has planes")
    for name, path, why in (("slip.tar.zst", "../evil", 'part ".."'), ("absolute.tar.zst", "/tmp/evil", "is absolute")):
        make_tar(name, good + [tar_entry(path, b"evil\n")], why)
    evil = b"16 path=../evil\n"
    make_tar("pax-slip.tar.zst", good + [tar_entry("pax", evil, tarfile.XHDTYPE), tar_entry("README.md", b"")], 'part ".."')
    make_tar("pax-link.tar.zst", good + [tar_entry("pax", b"21 linkpath=/etc/pas\n", tarfile.XHDTYPE)], "other than path and size")
    make_tar("pax-twice.tar.zst", first + [tar_entry("pax", b"11 path=RE\n16 path=ADME.md\n", tarfile.XHDTYPE),
                                           tar_entry("r", files["README.md"])] + rest[1:], "two paths")
    make_tar("pax-damaged.tar.zst", good + [tar_entry("pax", b"99 path=x\n", tarfile.XHDTYPE)], "pax header is damaged")
    for name, kind, why in (("link", tarfile.SYMTYPE, "a symbolic link"), ("hard-link", tarfile.LNKTYPE, "a hard link"),
                            ("device", tarfile.CHRTYPE, "a device"), ("directory", tarfile.DIRTYPE, "a directory"),
                            ("pipe", tarfile.FIFOTYPE, "a pipe"), ("gnu-name", tarfile.GNUTYPE_LONGNAME, "of a kind")):
        make_tar(f"{name}.tar.zst", first + [tar_entry("README.md", b"", kind, link="/etc/passwd")] + rest[1:], why)
    for name, path, why in (("git", ".git/config", 'part ".git"'), ("git-below", "hf/.GIT/config", 'part ".git"'),
                            ("dot-at-end", "README.md.", "ends in a dot"), ("blank-at-end", "hf /x", "ends in a dot or a blank"),
                            ("case", "readme.MD", "only in its case"), ("case-manifest", "Manifest.json", "can't be listed here")):
        more = {**files, path: b"[core]\n"}
        make_tar(f"{name}.tar.zst", plain(members(more, manifest(more))), why)
    make_tar("unlisted.tar.zst", good + [tar_entry("evil.py", b"evil\n")], "is not in the archive's manifest")
    make_tar("twice.tar.zst", good + rest[:1], "README.md is in the archive twice")
    make_tar("manifest-twice.tar.zst", good + first, "manifest.json is in the archive twice")
    make_tar("incomplete.tar.zst", first + without, "x.gguf is in the manifest and not in the archive")
    make_tar("changed.tar.zst", first + without + [tar_entry("x.gguf", files["x.gguf"][::-1])], "x.gguf has SHA-256")
    make_tar("longer.tar.zst", first + without + [tar_entry("x.gguf", files["x.gguf"] + b"x")], "has 33 bytes, the manifest says 32")
    make_tar("late-manifest.tar.zst", rest + first, "begins with README.md")
    make_tar("checksum.tar.zst", [good[0]] + [b"\0" + g[1:] for g in good[1:]], "not a tar header")
    make_tar("padding.tar.zst", [good[0][:-1] + b"x"] + good[1:], "between two members")
    make_tar("no-end.tar.zst", good, "ends too early", b"")
    make_tar("behind.tar.zst", good, "follows the end", b"\0" * 1024 + b"evil")
    make_tar("behind-end.tar.zst", good, "behind the end", b"\0" * 512 + good[1] + b"\0" * 512)
    make_tar("cut.tar.zst", good, "cut off", change=lambda b: b[:len(b) // 2])
    make_tar("not-zstd.tar.zst", good, "zstd", change=lambda b: b"not zstd" + b)
    make_tar("flipped.tar.zst", good, "", change=lambda b: b[:-1] + bytes([b[-1] ^ 1]))
    make_tar("huge-manifest.tar.zst", [tar_entry("manifest.json", b"", size=1 << 32)], "64 MiB are allowed")
    make_tar("many-values.tar.zst", plain(members(m=b"[" + b"0," * (1 << 22) + b"0]")), "more than 4194304 values")
    # 2048 times 2^53 is 0 in 64 bits
    poison = manifest(files, [{"path": f"z{i:04}", "size": 1 << 53, "sha256": "0" * 64} for i in range(2048)])
    make_tar("bomb-overflow.tar.zst", plain(members(files, poison)), "--max-size")
    poison = manifest(files, [{"path": "zeros.bin", "size": 1 << 33, "sha256": "0" * 64}])
    make_tar("bomb.tar.zst", plain(members(files, poison)) + [tar_entry("zeros.bin", b"", size=(1 << 33) - 1)], "--max-size")
    # 64 MiB of zeros in a few kB, for a file that the manifest says is small
    zeros = tar_entry("x.gguf", b"", size=1 << 26) + b"\0" * (1 << 26)
    make_tar("undeclared-bomb.tar.zst", first + without + [zeros], "has 67108864 bytes, the manifest says 32")
    # one frame that asks for a window of 1 GiB of memory
    body = b"".join(good) + b"\0" * 1024
    frame = b"\x28\xb5\x2f\xfd\0" + bytes([(30 - 10) << 3]) + (len(body) << 3 | 1).to_bytes(3, "little") + body
    put("window.tar.zst", frame, "too much memory")


def main():
    os.makedirs(here, exist_ok=True)
    for old in os.listdir(here):
        os.remove(os.path.join(here, old))
    zips()
    tars()
    with open(os.path.join(here, "table.txt"), "w") as f:
        for name, message in table:
            f.write(f"{name}\t{message}\n")


main()
