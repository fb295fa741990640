#!/usr/bin/env python3
"""Checks bom.cdx.json with the official CycloneDX 1.6 schema and provenance.json with what in-toto and SLSA demand.

    pip install 'cyclonedx-python-lib[json-validation]'
    python3 tests/golden/check_evidence.py tests/golden          (or any package directory)

other-architecture.gguf.manifest: `cd tests/golden && llama-gguf-hash --sha256 other-architecture.gguf` of llama.cpp.
"""
import json, re, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

where = sys.argv[1]
wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(f"{where}/bom.cdx.json").read())
assert wrong is None, wrong
s = json.load(open(f"{where}/provenance.json"))
assert s["_type"] == "https://in-toto.io/Statement/v1" and s["predicateType"] == "https://slsa.dev/provenance/v1"
build, run = s["predicate"]["buildDefinition"], s["predicate"]["runDetails"]
for r in s["subject"] + build["resolvedDependencies"] + run.get("byproducts", []):
    assert r["name"] and (r["digest"] if r in s["subject"] else True)
    assert all(re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", d) for d in r.get("digest", {}).values()), r
    assert set(r) <= {"name", "uri", "digest", "content", "downloadLocation", "mediaType", "annotations"}
assert len({r["name"] for r in s["subject"]}) == len(s["subject"])
for uri in (build["buildType"], run["builder"]["id"]):
    assert re.match(r"[a-z][a-z0-9+.-]*:.", uri), uri
assert isinstance(build["externalParameters"], dict)
print("good")
