/* hub_repo.h -- looking into a model repository on the Hub without downloading it: names and hashes of its
 * files, small files, and the headers of GGUF files by range requests. */
#ifndef RECAST_PACKAGER_HUB_REPO_H
#define RECAST_PACKAGER_HUB_REPO_H

#include "core/sha256.h"
#include "model/model.h"
#include "packager/hub.h"

typedef struct HubFile {
    const char *path;
    uint64_t size;
    char sha256[SHA256_HEX]; /* of an LFS file's content, "" for others */
    char git_oid[41];        /* of others (SHA-1 of "blob SIZE\0" and content); "" for LFS files */
} HubFile;

typedef struct HubRepo {
    Hub *hub; /* borrowed */
    const char *name;
    char commit[65]; /* that all of this was read at */
    size_t n_files;
    HubFile *files; /* sorted by path, in the arena */
} HubRepo;

/* name: "user/name", or "user/name@revision". Errors: ERR_IO (no such repository or revision, no right),
 * ERR_FORMAT. */
int hub_repo_read(HubRepo *out, Hub *hub, const char *name, Arena *arena, Error *err) MUST_CHECK;
/* Appends a whole file; ERR_LIMIT above `limit` bytes. */
int hub_repo_fetch(const HubRepo *repo, const HubFile *file, uint64_t limit, Buffer *out,
                   Error *err) MUST_CHECK;
/* The header of a GGUF as a model (gguf_open_shard) whose tensors have names, types, shapes and places but no
 * bytes: what is read of them is zeros. Parameters are filled in. *fetched: bytes that were downloaded.
 * Caller closes. */
int hub_repo_gguf(Model **out, const HubRepo *repo, const HubFile *file, uint64_t *fetched,
                  Error *err) MUST_CHECK;

/* git's name of a file with that content. */
int git_blob_oid(char hex[41], const void *bytes, size_t length, Error *err) MUST_CHECK;

#endif
